package build

import (
	"fmt"
	"math"

	"github.com/cilium/ebpf/asm"
)

// NewLabel makes a label, which Here places.
func (b *Builder) NewLabel() Label {
	b.labels++
	return Label(fmt.Sprintf(".%d", b.labels))
}

// Here puts a label before the next instruction.
func (b *Builder) Here(l Label) {
	if b.err != nil {
		return
	}
	if b.placed[l] {
		b.Fail("label %s is put twice", l)
		return
	}
	b.placed[l] = true
	if b.pending != "" {
		b.same[l] = b.pending
		return
	}
	b.pending = l
}

// root returns the label of l's place that instructions carry.
func (b *Builder) root(l Label) Label {
	if to, ok := b.same[l]; ok {
		return to
	}
	return l
}

// Jump continues at a label.
func (b *Builder) Jump(l Label) { b.Add(asm.Ja.Label(string(l))) }

// Return ends the program with result n.
func (b *Builder) Return(n int32) { b.Add(asm.Mov.Imm(R0, n), asm.Return()) }

// Stop ends the program with result 0.
func (b *Builder) Stop() { b.Return(0) }

// Cond compares a register with a constant or a register, all 64 bits.
type Cond struct {
	Op  asm.JumpOp
	Reg Reg
	Imm int64
	Src Reg
	X   bool // with Src in place of Imm
}

// Comparisons with a constant; those with S are signed.
func Eq(r Reg, v int64) Cond  { return Cond{Op: asm.JEq, Reg: r, Imm: v} }
func Ne(r Reg, v int64) Cond  { return Cond{Op: asm.JNE, Reg: r, Imm: v} }
func Gt(r Reg, v int64) Cond  { return Cond{Op: asm.JGT, Reg: r, Imm: v} }
func Ge(r Reg, v int64) Cond  { return Cond{Op: asm.JGE, Reg: r, Imm: v} }
func Lt(r Reg, v int64) Cond  { return Cond{Op: asm.JLT, Reg: r, Imm: v} }
func Le(r Reg, v int64) Cond  { return Cond{Op: asm.JLE, Reg: r, Imm: v} }
func SGt(r Reg, v int64) Cond { return Cond{Op: asm.JSGT, Reg: r, Imm: v} }
func SGe(r Reg, v int64) Cond { return Cond{Op: asm.JSGE, Reg: r, Imm: v} }
func SLt(r Reg, v int64) Cond { return Cond{Op: asm.JSLT, Reg: r, Imm: v} }
func SLe(r Reg, v int64) Cond { return Cond{Op: asm.JSLE, Reg: r, Imm: v} }

// Bits is true if any of the bits v is set.
func Bits(r Reg, v int64) Cond { return Cond{Op: asm.JSet, Reg: r, Imm: v} }

// With compares with a register in place of the constant.
func (c Cond) With(src Reg) Cond { c.Src, c.X = src, true; return c }

// negated maps each comparison to its opposite.
var negated = map[asm.JumpOp]asm.JumpOp{
	asm.JEq: asm.JNE, asm.JNE: asm.JEq,
	asm.JGT: asm.JLE, asm.JLE: asm.JGT, asm.JGE: asm.JLT, asm.JLT: asm.JGE,
	asm.JSGT: asm.JSLE, asm.JSLE: asm.JSGT, asm.JSGE: asm.JSLT, asm.JSLT: asm.JSGE,
}

// JumpIf continues at a label if the condition holds. A constant of more than 32 bits goes through
// R5, or through R4 if R5 is the compared register.
func (b *Builder) JumpIf(c Cond, to Label) {
	if !c.X && (c.Imm < math.MinInt32 || c.Imm > math.MaxInt32) {
		tmp := asm.R5
		if c.Reg == tmp {
			tmp = asm.R4
		}
		b.Add(asm.LoadImm(tmp, c.Imm, asm.DWord))
		c = c.With(tmp)
	}
	if c.X {
		b.Add(c.Op.Reg(c.Reg, c.Src, string(to)))
		return
	}
	b.Add(c.Op.Imm(c.Reg, int32(c.Imm), string(to)))
}

// JumpUnless continues at a label if the condition does not hold.
func (b *Builder) JumpUnless(c Cond, to Label) {
	if not, ok := negated[c.Op]; ok {
		c.Op = not
		b.JumpIf(c, to)
		return
	}
	over := b.NewLabel()
	b.JumpIf(c, over)
	b.Jump(to)
	b.Here(over)
}

// If runs the code that then builds if the condition holds.
func (b *Builder) If(c Cond, then func()) {
	end := b.NewLabel()
	b.JumpUnless(c, end)
	then()
	b.Here(end)
}

// IfElse runs the code that one of the two builds.
func (b *Builder) IfElse(c Cond, then, otherwise func()) {
	no, end := b.NewLabel(), b.NewLabel()
	b.JumpUnless(c, no)
	then()
	if b.pending != "" || !b.ended() {
		b.Jump(end)
	}
	b.Here(no)
	otherwise()
	b.Here(end)
}
