package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/skip"
)

// logLine is an instruction in the kernel's log: number, opcode, text, and what
// the verifier knows.
var logLine = regexp.MustCompile(`(?m)^(\d+): \([0-9a-f]{2}\) (.*?)\s*(?:;.*)?$`)

// TestTextIsTheKernels: the verifier's log has the same text, except for names that ptracer prints,
// and "goto pc+1" for "goto +1".
func TestTextIsTheKernels(t *testing.T) {
	available(t)
	programs := []*program.Program{arithmetic(t)}
	if log, err := Check(programs[0]); err != nil && strings.Contains(log, "unknown opcode") {
		skip.Missing(t, "a kernel that loads and stores with an order (6.15)")
	}
	for _, name := range []string{"latency", "record", "loop"} {
		f, err := os.Open(filepath.Join("..", "program", "testdata", name+".bpf.o"))
		switch {
		case errors.Is(err, os.ErrNotExist): // where other packages' test data is not
			skip.Missing(t, name+".bpf.o")
		case err != nil:
			t.Fatal(err)
		}
		list, err := program.Load(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, list...)
	}
	for _, p := range programs {
		lines := logLine.FindAllStringSubmatch(verbose(t, p), -1)
		if len(lines) < len(p.Insns)/2 {
			t.Errorf("%s: %d lines of log for %d instructions", p.Name, len(lines), len(p.Insns))
		}
		for _, l := range lines {
			i, _ := strconv.Atoi(l[1])
			want := strings.Replace(l[2], "goto pc", "goto ", 1)
			got := p.Text(i)
			if in := p.Insns[i]; in.Wide() && in.Src == program.PseudoNone {
				got = strings.TrimSuffix(got, " ll")
			} else if in.Wide() || in.IsCall() && in.Src == program.CallFunc {
				continue // names
			}
			if got = strings.Replace(got, "gotol ", "gotol pc", 1); got != want {
				t.Errorf("%s: %d: %q, the kernel says %q", p.Name, i, got, want)
			}
		}
	}
}

// verbose is the verifier's whole log.
func verbose(t *testing.T, p *program.Program) string {
	t.Helper()
	maps, err := openMaps(p.Maps)
	if err != nil {
		t.Fatal(err)
	}
	defer closeMaps(maps)
	k, err := load(p, maps, as{kind: ebpf.Kprobe, log: ebpf.LogLevelInstruction})
	if err != nil {
		t.Fatalf("%s: %+v", p.Name, err)
	}
	defer k.Close()
	return k.VerifierLog
}

// arithmetic is a program with most forms of instruction that need no maps.
func arithmetic(t *testing.T) *program.Program {
	add := []program.Insn{
		{Op: alu | program.AluMov, Dst: 1, Imm: -77}, {Op: alu | program.AluMov, Dst: 2, Imm: 3}, {Op: alu | program.AluMov, Dst: 0},
		{Op: program.ClassLd | program.SizeDW, Dst: 3, Imm: -2}, {Imm: 0x1234},
	}
	for _, class := range []uint8{program.ClassAlu, program.ClassAlu64} {
		for op := program.AluAdd; op <= program.AluArsh; op += 0x10 {
			if op == program.AluNeg {
				add = append(add, program.Insn{Op: class | program.AluNeg, Dst: 1})
				continue
			}
			add = append(add, program.Insn{Op: class | uint8(op), Dst: 1, Imm: 7}, program.Insn{Op: class | uint8(op) | program.SrcX, Dst: 1, Src: 2})
		}
		add = append(add,
			program.Insn{Op: class | program.AluDiv, Dst: 1, Off: 1, Imm: -7},
			program.Insn{Op: class | program.AluMod | program.SrcX, Dst: 1, Src: 2, Off: 1},
			program.Insn{Op: class | program.AluMov | program.SrcX, Dst: 1, Src: 2, Off: 8},
			program.Insn{Op: class | program.AluMov | program.SrcX, Dst: 1, Src: 2, Off: 16},
			program.Insn{Op: class | program.AluEnd, Dst: 1, Imm: 16})
	}
	for _, class := range []uint8{program.ClassJmp, program.ClassJmp32} {
		for op := program.JmpEq; op <= program.JmpSle; op += 0x10 {
			if op != program.JmpCall && op != program.JmpExit {
				add = append(add, program.Insn{Op: class | uint8(op), Dst: 1, Imm: -5}, program.Insn{Op: class | uint8(op) | program.SrcX, Dst: 1, Src: 2})
			}
		}
	}
	for _, size := range []uint8{program.SizeB, program.SizeH, program.SizeW, program.SizeDW} {
		add = append(add,
			program.Insn{Op: program.ClassSt | program.ModeMem | program.SizeDW, Dst: 10, Off: -8, Imm: -3},
			program.Insn{Op: program.ClassStx | program.ModeMem | size, Dst: 10, Src: 2, Off: -8},
			program.Insn{Op: program.ClassLdx | program.ModeMem | size, Dst: 1, Src: 10, Off: -8},
			program.Insn{Op: program.ClassStx | program.ModeAtomic | size, Dst: 1, Src: 10, Off: -8, Imm: program.AtomicLoad},
			program.Insn{Op: program.ClassStx | program.ModeAtomic | size, Dst: 10, Src: 2, Off: -8, Imm: program.AtomicStore})
		if size != program.SizeDW {
			add = append(add, program.Insn{Op: program.ClassLdx | program.ModeMemSX | size, Dst: 1, Src: 10, Off: -8})
		}
	}
	for _, op := range []int32{program.AluAdd, program.AluOr | 1, program.AluXor | 1, program.AtomicXchg, program.AtomicCmpXchg} {
		add = append(add, program.Insn{Op: program.ClassStx | program.ModeAtomic | program.SizeDW, Dst: 10, Src: 2, Off: -8, Imm: op},
			program.Insn{Op: program.ClassStx | program.ModeAtomic | program.SizeW, Dst: 10, Src: 2, Off: -8, Imm: op})
	}
	add = append(add, program.Insn{Op: program.ClassJmp | program.JmpA}, program.Insn{Op: program.ClassJmp32 | program.JmpA},
		program.Insn{Op: alu | program.AluMov, Dst: 0}, program.Insn{Op: exit})
	return prog(t, nil, add...)
}

// structural are the kernel's words for what Validate is to refuse.
var structural = regexp.MustCompile(`reserved field|unknown opcode|unrecognized|invalid BPF_|jump out of range|invalid bpf_ld_imm64|BPF_NEG|invalid shift|div by zero|div by 0|invalid atomic operand|uses reserved|insn_cnt|not an exit or jmp`)

// TestValidateIsTheKernels: each opcode with each of a few values in its other
// fields. What Validate refuses as invalid, the kernel refuses; what the kernel
// refuses by its form, Validate refuses.
func TestValidateIsTheKernels(t *testing.T) {
	available(t)
	p := &program.Program{Name: "one", Funcs: []program.Func{{Name: "one"}}}
	tried, accepted := 0, 0
	for op := range 256 {
		for n, fields := range []program.Insn{{}, {Src: 1}, {Off: 1}, {Imm: 16}, {Dst: 1, Src: 1, Imm: 64}, {Off: -8, Dst: 10}, {Off: 8, Src: 2}, {Src: 10, Imm: 1}, {Dst: 10, Src: 1, Off: -8, Imm: 0xe1}} {
			in := fields
			in.Op = uint8(op)
			p.Insns = []program.Insn{{Op: alu | program.AluMov}, {Op: alu | program.AluMov, Dst: 2}, in, {}, {Op: exit}}
			if !in.Wide() {
				p.Insns[3] = program.Insn{Op: alu | program.AluMov}
			}
			if !faithful(p) {
				continue
			}
			tried++
			k, err := load(p, nil, as{kind: ebpf.Kprobe})
			if err == nil {
				k.Close()
				accepted++
			}
			var v *ebpf.VerifierError
			if err != nil && !errors.As(err, &v) {
				continue // cilium's own refusal
			}
			ours := program.Validate(p)
			if err == nil && errors.Is(ours, program.ErrInvalid) {
				t.Errorf("op %#02x, fields %d: accepted by the kernel; ours: %v", op, n, ours)
			}
			if err != nil && ours == nil && structural.MatchString(strings.Join(v.Log, "\n")) {
				t.Errorf("op %#02x, fields %d: accepted by ours; the kernel: %v", op, n, v)
			}
		}
	}
	t.Logf("%d tried, %d accepted", tried, accepted)
	if accepted < 100 {
		t.Error("the kernel accepts next to nothing")
	}
}

// faithful reports whether cilium hands the instructions to the kernel as they are:
// it drops what is in an ALU instruction's offset where that means nothing.
func faithful(p *program.Program) bool {
	spec, err := p.Spec()
	if err != nil {
		return false
	}
	var b bytes.Buffer
	if err := spec.Instructions.Marshal(&b, binary.LittleEndian); err != nil {
		return false
	}
	return bytes.Equal(b.Bytes(), p.Bytes())
}
