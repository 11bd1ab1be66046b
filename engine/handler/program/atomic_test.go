package program

import (
	"testing"

	"github.com/cilium/ebpf/asm"
)

// An atomic operation that package asm has built is that operation, and not an
// addition.
func TestAtomics(t *testing.T) {
	for op, want := range map[asm.AtomicOp]int32{
		asm.AddAtomic: AluAdd, asm.FetchAdd: AluAdd | AtomicFetch, asm.OrAtomic: AluOr, asm.FetchAnd: AluAnd | AtomicFetch,
		asm.FetchXor: AluXor | AtomicFetch, asm.Xchg: AtomicXchg, asm.CmpXchg: AtomicCmpXchg,
	} {
		p, err := FromAsm("atomic", asm.Instructions{
			asm.Mov.Reg(asm.R2, asm.R10), asm.Mov.Imm(asm.R1, 1),
			op.Mem(asm.R2, asm.R1, asm.DWord, -8), asm.Mov.Imm(asm.R0, 0), asm.Return(),
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if in := p.Insns[2]; in.Imm != want {
			t.Errorf("%v became %v, operation %#x instead of %#x", op, in, in.Imm, want)
		}
	}
}
