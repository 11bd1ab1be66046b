package verify

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
)

var update = flag.Bool("update", false, "write the goldens")

const allRights = program.ReadMemory | program.WriteMemory | program.Override

// testMaps are the maps of test programs, by name.
var testMaps = []program.Map{
	{Name: "counts", Type: program.Array, KeySize: 4, ValueSize: 16, MaxEntries: 4},
	{Name: "hash", Type: program.Hash, KeySize: 8, ValueSize: 64, MaxEntries: 4},
	{Name: "ring", Type: program.RingBuf, MaxEntries: 4096},
	{Name: "consts", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, ReadOnly: true,
		Contents: []program.KV{{Key: make([]byte, 4), Value: []byte("\x05\x00\x00\x00abc\x00")}}},
	{Name: "data", Type: program.Array, KeySize: 4, ValueSize: 32, MaxEntries: 1},
	{Name: "traces", Type: program.StackTrace, KeySize: 4, ValueSize: 80, MaxEntries: 4},
	{Name: "events", Type: program.PerfEvents, KeySize: 4, ValueSize: 4},
}

func options(t testing.TB, rights program.Rights) Options {
	t.Helper()
	ctx, err := program.ContextOf("amd64")
	if err != nil {
		t.Fatal(err)
	}
	return Options{Context: ctx, Rights: rights}
}

// is joins instructions and lists of them.
func is(parts ...any) (list asm.Instructions) {
	for _, p := range parts {
		switch p := p.(type) {
		case asm.Instruction:
			list = append(list, p)
		case asm.Instructions:
			list = append(list, p...)
		default:
			panic(fmt.Sprintf("%T is no instruction", p))
		}
	}
	return list
}

func made(t testing.TB, name string, insns asm.Instructions) *program.Program {
	t.Helper()
	p, err := program.FromAsm(name, insns, testMaps)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// The pieces of programs.
var (
	ret0 = is(asm.Mov.Imm(asm.R0, 0), asm.Return())
	// lookup loads the address of the value of counts into R0, or 0.
	lookup = is(storeImm(asm.R10, -4, 1, asm.Word), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -4),
		loadMap(asm.R1, "counts"), asm.FnMapLookupElem.Call())
	// found continues only if there is a value.
	found = is(lookup, asm.JNE.Imm(asm.R0, 0, "found"), ret0)
	// reserve loads the address of a record of 16 bytes into R6, or 0.
	reserve = is(loadMap(asm.R1, "ring"), asm.Mov.Imm(asm.R2, 16), asm.Mov.Imm(asm.R3, 0), asm.FnRingbufReserve.Call(),
		asm.Mov.Reg(asm.R6, asm.R0))
	submit = is(asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, 0), asm.FnRingbufSubmit.Call())
	arg0   = asm.LoadMem(asm.R3, asm.R1, 112, asm.DWord) // rdi
)

func loadMap(dst asm.Register, name string) asm.Instruction {
	return asm.LoadMapPtr(dst, 0).WithReference(name)
}

func loadValue(dst asm.Register, name string, off uint32) asm.Instruction {
	return asm.LoadMapValue(dst, 0, off).WithReference(name)
}

// at puts a label.
func at(label string, list asm.Instructions) asm.Instructions {
	out := append(asm.Instructions{}, list...)
	out[0] = out[0].WithSymbol(label)
	return out
}

func callFunc(label string) asm.Instruction {
	return asm.Call.Label(label)
}

func loadFunc(dst asm.Register, label string) asm.Instruction {
	return asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: dst, Src: asm.PseudoFunc, Constant: -1}.WithReference(label)
}

// loopOf calls bpf_loop with the stack's end and a body.
func loopOf(times asm.Instruction, body asm.Instructions) asm.Instructions {
	return is(times, loadFunc(asm.R2, "body"), asm.Mov.Reg(asm.R3, asm.R10), asm.Mov.Imm(asm.R4, 0), asm.FnLoop.Call(),
		ret0, at("body", body))
}

// pair is a program that is refused, and the same program corrected.
type pair struct {
	name   string
	wrong  asm.Instructions
	right  asm.Instructions
	class  error
	rights program.Rights // of both; 0: all
	forth  program.Rights // of the correct one only
}

func TestPairs(t *testing.T) {
	var golden strings.Builder
	names := map[string]bool{}
	for _, c := range pairs() {
		if names[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		names[c.name] = true
		rights := c.rights
		if rights == 0 && c.forth == 0 {
			rights = allRights
		}
		r, err := Check(made(t, c.name, c.wrong), options(t, rights))
		var e *Error
		switch {
		case err == nil:
			t.Errorf("%s: accepted, %d steps", c.name, r.Steps)
			continue
		case !errors.Is(err, c.class):
			t.Errorf("%s: %v, which is no %v", c.name, err, c.class)
		case !errors.As(err, &e):
			t.Errorf("%s: %v is no *Error", c.name, err)
		}
		fmt.Fprintln(&golden, err)
		if r, err := Check(made(t, c.name, c.right), options(t, rights|c.forth)); err != nil {
			t.Errorf("%s, repaired: %v", c.name, err)
		} else if r.Steps == 0 || r.Depth == 0 || len(r.Facts) != len(r.Program.Insns) {
			t.Errorf("%s, repaired: %+v", c.name, r)
		}
	}
	file := filepath.Join("testdata", "refusals.txt")
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if golden.String() != string(want) {
		t.Errorf("texts are not as in %s; look at the difference that -update makes:\n%s", file, golden.String())
	}
}

// storeImm is asm.StoreImm, also for 8 bytes.
func storeImm(dst asm.Register, off int16, v int64, size asm.Size) asm.Instruction {
	return asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: dst, Offset: off, Constant: v}
}
