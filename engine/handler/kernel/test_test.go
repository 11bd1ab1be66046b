package kernel

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
)

const (
	alu  = program.ClassAlu64
	ldx  = program.ClassLdx | program.ModeMem | program.SizeDW
	exit = program.ClassJmp | program.JmpExit
)

func prog(t *testing.T, maps []program.Map, insns ...program.Insn) *program.Program {
	t.Helper()
	raw := (&program.Program{Insns: insns}).Bytes()
	p, err := program.FromBytes("test", raw, maps)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRunResult: all 64 bits of R0, and the whole of struct pt_regs.
func TestRunResult(t *testing.T) {
	available(t)
	p := prog(t, nil,
		program.Insn{Op: ldx, Dst: program.R0, Src: program.R1, Off: 160},
		program.Insn{Op: alu | program.AluAdd, Dst: program.R0, Imm: 1},
		program.Insn{Op: exit},
	)
	ctx := make([]byte, 168)
	binary.LittleEndian.PutUint64(ctx[160:], 0x123456789abcdef0)
	r0, log, err := TestRun(p, ctx)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if r0 != 0x123456789abcdef1 {
		t.Errorf("r0 = %#x", r0)
	}
	if log == "" {
		t.Error("no log")
	}
}

func TestRunRefused(t *testing.T) {
	available(t)
	p := prog(t, nil, program.Insn{Op: alu | program.AluMov | program.SrcX, Dst: program.R0, Src: program.R5}, program.Insn{Op: exit})
	_, log, err := TestRun(p, nil)
	var v *ebpf.VerifierError
	if !errors.As(err, &v) || log == "" {
		t.Errorf("error %v, log %q", err, log)
	}
	if log, err := Check(p); !errors.As(err, &v) || log == "" {
		t.Errorf("error %v, log %q", err, log)
	}
}

// TestRunFunctions: an exit in the middle, functions behind the first, one with its address taken;
// the result is the first's.
func TestRunFunctions(t *testing.T) {
	available(t)
	p := assemble(t, "main", nil,
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R1, 5),
		asm.Call.Label("square"),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.DWord),
		asm.JEq.Imm(asm.R7, 1, "loop"),
		asm.Return(),
		asm.StoreMem(asm.RFP, -8, asm.R0, asm.DWord).WithSymbol("loop"),
		asm.Mov.Imm(asm.R1, 4),
		asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc, Constant: -1}.WithReference("add"),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -8),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnLoop.Call(),
		asm.LoadMem(asm.R0, asm.RFP, -8, asm.DWord),
		asm.Return(),
		asm.Mov.Reg(asm.R0, asm.R1).WithSymbol("square"),
		asm.Mul.Reg(asm.R0, asm.R1),
		asm.Return(),
		asm.LoadMem(asm.R1, asm.R2, 0, asm.DWord).WithSymbol("add"),
		asm.Add.Imm(asm.R1, 100),
		asm.StoreMem(asm.R2, 0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	)
	if log, err := Check(p); err != nil {
		t.Errorf("at a uprobe: %v\n%s", err, log)
	}
	test, err := LoadTest(p)
	if err != nil {
		t.Fatal(err)
	}
	defer test.Close()
	for first, want := range map[byte]uint64{0: 25, 1: 425} {
		if r0, err := test.Run([]byte{first, 0, 0, 0, 0, 0, 0, 0}); err != nil || r0 != want {
			t.Errorf("context %d: %d instead of %d, %v", first, r0, want, err)
		}
	}
	if _, err := test.Run(nil); err == nil {
		t.Error("a context that is too short: no error")
	}
	if _, err := test.Run(make([]byte, MaxContext+1)); err == nil {
		t.Error("a context that is too long: no error")
	}
}

// TestRunMaps: what a run left in a map.
func TestRunMaps(t *testing.T) {
	available(t)
	test, err := LoadTest(count(t))
	if err != nil {
		t.Fatal(err)
	}
	defer test.Close()
	for range 3 {
		if _, err := test.Run(nil); err != nil {
			t.Fatal(err)
		}
	}
	sum := uint64(0)
	for _, values := range test.Map(0).All() {
		for _, v := range values {
			sum += binary.LittleEndian.Uint64(v)
		}
	}
	if sum != 3 {
		t.Errorf("counted %d of 3", sum)
	}
}
