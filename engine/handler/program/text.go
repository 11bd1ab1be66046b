package program

import (
	"fmt"
	"io"
	"strings"

	"github.com/ptracer/ptracer/printable"
)

// Text returns instruction i in the form that the kernel's verifier logs (kernel:
// kernel/bpf/disasm.c), with the names of maps, functions and helpers; "" for the second half of a
// 64-bit load.
func (p *Program) Text(i int) string {
	if i < 0 || i >= len(p.Insns) {
		return "outside"
	}
	in := p.Insns[i]
	if in.Wide() {
		return p.wideText(i)
	}
	if in.Op == 0 && i > 0 && p.Insns[i-1].Wide() {
		return ""
	}
	if to, ok := p.Callee(i); ok {
		return "call " + p.funcName(to)
	}
	return in.String()
}

// String returns the instruction in the form that the kernel's verifier logs. It shows only the
// first half of a 64-bit load.
func (i Insn) String() string {
	switch i.Class() {
	case ClassAlu, ClassAlu64:
		return i.aluText()
	case ClassJmp, ClassJmp32:
		return i.jumpText()
	case ClassLdx, ClassSt, ClassStx:
		return i.memText()
	}
	if i.Wide() {
		return fmt.Sprintf("r%d = 0x%x ll", i.Dst, uint32(i.Imm))
	}
	return i.unknown()
}

func (i Insn) unknown() string {
	return fmt.Sprintf("unknown %02x dst %d src %d off %d imm %d", i.Op, i.Dst, i.Src, i.Off, i.Imm)
}

// wideText returns the text of the 64-bit load at index i.
func (p *Program) wideText(i int) string {
	in, high := p.Insns[i], Insn{}
	if i+1 < len(p.Insns) {
		high = p.Insns[i+1]
	}
	name := func() string {
		if m := int(in.Imm); m >= 0 && m < len(p.Maps) {
			return p.MapName(m)
		}
		return fmt.Sprintf("%d?", in.Imm)
	}
	switch in.Src {
	case PseudoNone:
		return fmt.Sprintf("r%d = 0x%x ll", in.Dst, uint64(uint32(in.Imm))|uint64(uint32(high.Imm))<<32)
	case PseudoMap:
		return fmt.Sprintf("r%d = map[%s]", in.Dst, name())
	case PseudoMapValue:
		return fmt.Sprintf("r%d = map[%s][0]%+d", in.Dst, name(), high.Imm)
	case PseudoFunc:
		return fmt.Sprintf("r%d = subprog[%s]", in.Dst, p.funcName(i+1+int(in.Imm)))
	}
	return in.unknown()
}

// funcName returns the name of the function that starts at index i.
func (p *Program) funcName(i int) string {
	for _, f := range p.Funcs {
		if f.Start == i {
			return f.Name
		}
	}
	return fmt.Sprintf("pc %d", i)
}

var aluText = [16]string{
	AluAdd >> 4: "+=", AluSub >> 4: "-=", AluMul >> 4: "*=", AluDiv >> 4: "/=", AluOr >> 4: "|=",
	AluAnd >> 4: "&=", AluLsh >> 4: "<<=", AluRsh >> 4: ">>=", AluMod >> 4: "%=", AluXor >> 4: "^=",
	AluMov >> 4: "=", AluArsh >> 4: "s>>=",
}

func (i Insn) aluText() string {
	reg, op := i.regLetter(ClassAlu64), i.Op&OpMask
	switch {
	case op == AluEnd:
		return fmt.Sprintf("r%d = %s%d r%d", i.Dst, i.swapName(), i.Imm, i.Dst)
	case op == AluNeg:
		return fmt.Sprintf("%c%d = -%c%d", reg, i.Dst, reg, i.Dst)
	case aluText[op>>4] == "":
		return i.unknown()
	}
	sign, cast := "", ""
	if i.Off != 0 && (op == AluDiv || op == AluMod) {
		sign = "s"
	}
	if i.Off != 0 && op == AluMov {
		cast = fmt.Sprintf("(s%d)", i.Off)
	}
	if i.Op&SrcMask == SrcX {
		return fmt.Sprintf("%c%d %s%s %s%c%d", reg, i.Dst, sign, aluText[op>>4], cast, reg, i.Src)
	}
	return fmt.Sprintf("%c%d %s%s %s%d", reg, i.Dst, sign, aluText[op>>4], cast, i.Imm)
}

// regLetter is r for whole registers, if the instruction is of class, and w for halves.
func (i Insn) regLetter(class uint8) byte {
	if i.Class() == class {
		return 'r'
	}
	return 'w'
}

func (i Insn) swapName() string {
	switch {
	case i.Class() == ClassAlu64:
		return "bswap"
	case i.Op&SrcMask == SrcX:
		return "be"
	}
	return "le"
}

var jumpText = [16]string{
	JmpEq >> 4: "==", JmpGt >> 4: ">", JmpGe >> 4: ">=", JmpSet >> 4: "&", JmpNe >> 4: "!=", JmpSgt >> 4: "s>",
	JmpSge >> 4: "s>=", JmpLt >> 4: "<", JmpLe >> 4: "<=", JmpSlt >> 4: "s<", JmpSle >> 4: "s<=",
}

func (i Insn) jumpText() string {
	reg, op := i.regLetter(ClassJmp), i.Op&OpMask
	switch {
	case i.IsExit():
		return "exit"
	case i.IsCall():
		return i.callText()
	case i.Op == ClassJmp|JmpA:
		return fmt.Sprintf("goto %+d", i.Off)
	case i.Op == ClassJmp32|JmpA:
		return fmt.Sprintf("gotol %+d", i.Imm)
	case jumpText[op>>4] == "":
		return i.unknown()
	case i.Op&SrcMask == SrcX:
		return fmt.Sprintf("if %c%d %s %c%d goto %+d", reg, i.Dst, jumpText[op>>4], reg, i.Src, i.Off)
	}
	return fmt.Sprintf("if %c%d %s 0x%x goto %+d", reg, i.Dst, jumpText[op>>4], uint32(i.Imm), i.Off)
}

func (i Insn) callText() string {
	if i.Src == CallFunc {
		return fmt.Sprintf("call pc%+d", i.Imm)
	}
	if i.Src != CallHelper {
		return i.unknown()
	}
	if h := Helpers[i.Imm]; h != nil {
		return fmt.Sprintf("call bpf_%s#%d", h.Name, h.Num)
	}
	return fmt.Sprintf("call unknown#%d", i.Imm)
}

func (i Insn) memText() string {
	size := [...]string{"u32", "u16", "u8", "u64"}[i.Op&SizeMask>>3]
	at := func(reg uint8) string { return fmt.Sprintf("(%s *)(r%d %+d)", size, reg, i.Off) }
	switch i.Op &^ SizeMask {
	case ClassLdx | ModeMem:
		return fmt.Sprintf("r%d = *%s", i.Dst, at(i.Src))
	case ClassLdx | ModeMemSX:
		return fmt.Sprintf("r%d = *%s", i.Dst, strings.Replace(at(i.Src), "(u", "(s", 1))
	case ClassSt | ModeMem:
		return fmt.Sprintf("*%s = %d", at(i.Dst), i.Imm)
	case ClassStx | ModeMem:
		return fmt.Sprintf("*%s = r%d", at(i.Dst), i.Src)
	case ClassStx | ModeAtomic:
		return i.atomicText(at)
	}
	return i.unknown()
}

var fetchText = map[int32]string{AluAdd: "add", AluOr: "or", AluAnd: "and", AluXor: "xor"}

func (i Insn) atomicText(at func(reg uint8) string) string {
	width := ""
	if i.Size() == 8 {
		width = "64"
	}
	switch i.Imm {
	case AluAdd, AluOr, AluAnd, AluXor:
		return fmt.Sprintf("lock *%s %s r%d", at(i.Dst), aluText[i.Imm>>4], i.Src)
	case AluAdd | AtomicFetch, AluOr | AtomicFetch, AluAnd | AtomicFetch, AluXor | AtomicFetch:
		return fmt.Sprintf("r%d = atomic%s_fetch_%s(%s, r%d)", i.Src, width, fetchText[i.Imm&^AtomicFetch], at(i.Dst), i.Src)
	case AtomicCmpXchg:
		return fmt.Sprintf("r0 = atomic%s_cmpxchg(%s, r0, r%d)", width, at(i.Dst), i.Src)
	case AtomicXchg:
		return fmt.Sprintf("r%d = atomic%s_xchg(%s, r%d)", i.Src, width, at(i.Dst), i.Src)
	case AtomicLoad:
		return fmt.Sprintf("r%d = load_acquire(%s)", i.Dst, at(i.Src))
	case AtomicStore:
		return fmt.Sprintf("store_release(%s, r%d)", at(i.Dst), i.Src)
	}
	return i.unknown()
}

// WriteText writes the whole program: its maps, and each function with its numbered instructions
// and, if known, the source lines.
func (p *Program) WriteText(w io.Writer) error {
	var b strings.Builder
	for m, spec := range p.Maps {
		_ = printable.Printf(&b, "map %s: %v, key %d, value %d, %d entries", p.MapName(m), spec.Type, spec.KeySize, spec.ValueSize, spec.MaxEntries)
	}
	last := ""
	for f := range p.Funcs {
		_ = printable.Printf(&b, "%s:", p.Funcs[f].Name)
		for i := p.Funcs[f].Start; i < p.End(f); i++ {
			if text := p.source(i, nil); text != "" && text != last {
				_ = printable.Printf(&b, "      ; %s", strings.TrimSpace(text))
				last = text
			}
			if text := p.Text(i); text != "" {
				_ = printable.Printf(&b, "%5d: %s", i, text)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
