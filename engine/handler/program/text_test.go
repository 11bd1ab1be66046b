package program

import (
	"strings"
	"testing"
)

// forms is a program with every form of instruction; it has a map for each
// kind of load, and a second function.
func forms() *Program {
	p := &Program{
		Name: "forms", Funcs: []Func{{"forms", 0}, {"other", 0}},
		Maps: []Map{
			{Name: "one", Type: Array, KeySize: 4, ValueSize: 64, MaxEntries: 1},
			{Type: Hash, KeySize: 4, ValueSize: 4, MaxEntries: 9},
		},
	}
	add := func(insns ...Insn) { p.Insns = append(p.Insns, insns...) }
	for _, class := range []uint8{ClassAlu, ClassAlu64} {
		for op := AluAdd; op <= AluArsh; op += 0x10 {
			if op == AluNeg {
				add(Insn{Op: class | AluNeg, Dst: 1})
				continue
			}
			add(Insn{Op: class | uint8(op), Dst: 1, Imm: 7}, Insn{Op: class | uint8(op) | SrcX, Dst: 1, Src: 2})
		}
		for _, op := range []uint8{AluDiv, AluMod} {
			add(Insn{Op: class | op, Dst: 1, Off: 1, Imm: -7}, Insn{Op: class | op | SrcX, Dst: 1, Src: 2, Off: 1})
		}
		add(Insn{Op: class | AluMov | SrcX, Dst: 1, Src: 2, Off: 8}, Insn{Op: class | AluMov | SrcX, Dst: 1, Src: 2, Off: 16})
		add(Insn{Op: class | AluEnd, Dst: 1, Imm: 16}, Insn{Op: class | AluEnd, Dst: 1, Imm: 64})
	}
	add(Insn{Op: ClassAlu64 | AluMov | SrcX, Dst: 1, Src: 2, Off: 32}, Insn{Op: ClassAlu | AluEnd | SrcX, Dst: 1, Imm: 32})
	for _, class := range []uint8{ClassJmp, ClassJmp32} {
		for op := JmpEq; op <= JmpSle; op += 0x10 {
			if op != JmpCall && op != JmpExit {
				add(Insn{Op: class | uint8(op), Dst: 1, Imm: -5}, Insn{Op: class | uint8(op) | SrcX, Dst: 1, Src: 2, Off: -1})
			}
		}
	}
	add(Insn{Op: ClassJmp | JmpA}, Insn{Op: ClassJmp32 | JmpA})
	for _, size := range []uint8{SizeB, SizeH, SizeW, SizeDW} {
		add(Insn{Op: ClassLdx | ModeMem | size, Dst: 1, Src: 2, Off: 8}, Insn{Op: ClassStx | ModeMem | size, Dst: 10, Src: 2, Off: -8},
			Insn{Op: ClassSt | ModeMem | size, Dst: 10, Off: -8, Imm: -3})
		if size != SizeDW {
			add(Insn{Op: ClassLdx | ModeMemSX | size, Dst: 1, Src: 2})
		}
		add(Insn{Op: ClassStx | ModeAtomic | size, Dst: 1, Src: 2, Off: 4, Imm: AtomicLoad},
			Insn{Op: ClassStx | ModeAtomic | size, Dst: 1, Src: 2, Off: 4, Imm: AtomicStore})
	}
	for _, size := range []uint8{SizeW, SizeDW} {
		for _, op := range []int32{AluAdd, AluOr, AluAnd, AluXor, AluAdd | 1, AluOr | 1, AluAnd | 1, AluXor | 1, AtomicXchg, AtomicCmpXchg} {
			add(Insn{Op: ClassStx | ModeAtomic | size, Dst: 1, Src: 2, Off: 4, Imm: op})
		}
	}
	ld := uint8(ClassLd | SizeDW)
	add(Insn{Op: ld, Dst: 1, Imm: -2}, Insn{Imm: 0x1234}, Insn{Op: ld, Dst: 1, Src: PseudoMap, Imm: 1}, Insn{},
		Insn{Op: ld, Dst: 1, Src: PseudoMapValue}, Insn{Imm: 24})
	at := int32(len(p.Insns))
	add(Insn{Op: ld, Dst: 1, Src: PseudoFunc, Imm: 4}, Insn{}, Insn{Op: ClassJmp | JmpCall, Src: CallFunc, Imm: 2},
		Insn{Op: ClassJmp | JmpCall, Imm: FnKtimeGetNS}, Insn{Op: ClassJmp | JmpExit})
	p.Funcs[1].Start = int(at) + 5
	add(Insn{Op: ClassAlu64 | AluMov, Imm: 1}, Insn{Op: ClassJmp | JmpExit})
	return p
}

// TestText: every form of instruction, as the kernel's disassembler writes it.
func TestText(t *testing.T) {
	p := forms()
	if err := Validate(p); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "unknown") {
		t.Error("unknown instructions")
	}
	golden(t, "text.golden", b.String())
	sameAsSpec(t, p)
}

// TestTextOfNonsense: invalid instructions have a text, too.
func TestTextOfNonsense(t *testing.T) {
	p := &Program{Name: "x", Insns: []Insn{{Op: 0xff}, {Op: ClassJmp | JmpCall, Imm: 9999}, {Op: ClassLd | SizeDW, Src: PseudoMap, Imm: 7}, {}, {Op: 0}}}
	want := []string{"unknown ff dst 0 src 0 off 0 imm 0", "call unknown#9999", "r0 = map[7?]", "", "unknown 00 dst 0 src 0 off 0 imm 0"}
	for i, text := range want {
		if got := p.Text(i); got != text {
			t.Errorf("%d: %q instead of %q", i, got, text)
		}
	}
	if p.Text(-1) != "outside" || p.Text(5) != "outside" {
		t.Error("texts outside")
	}
}
