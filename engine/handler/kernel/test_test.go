package kernel

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf"

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
