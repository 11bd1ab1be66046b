package filter

import (
	"math"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Emit builds code that computes the expression into dst, which may be any register except R6 and
// R10. If memory can't be read the code continues at fault. It clobbers R0 to R5 and keeps R7 to
// R9.
func (e *Expr) Emit(b *build.Builder, dst build.Reg, fault build.Label) {
	g := emitter{b, fault}
	g.value(e.root, 0)
	b.Move(dst, scratch[0])
}

// Unless builds code that continues at no if the condition does not hold, and at fault if it can't
// be decided since memory can't be read. The code clobbers R0 to R5.
func (e *Expr) Unless(b *build.Builder, no, fault build.Label) {
	if v, ok := e.Const(); ok {
		if v == 0 {
			b.Fail("%w: the condition %s never holds", expr.ErrSyntax, e.text)
		}
		return
	}
	g := emitter{b, fault}
	g.jump(e.root, false, no, 0)
}

// Guard builds code that ends the program unless the condition holds; it is for build.Before.
// unread, if it is not nil, builds the code that counts unreadable memory.
func (e *Expr) Guard(b *build.Builder, unread func()) {
	no, yes, fault := b.NewLabel(), b.NewLabel(), b.NewLabel()
	if unread == nil || !e.Reads() {
		fault = no
	}
	e.Unless(b, no, fault)
	if _, ok := e.Const(); ok {
		return
	}
	b.Jump(yes)
	if fault != no {
		b.Here(fault)
		unread()
	}
	b.Here(no)
	b.Stop()
	b.Here(yes)
}

// Compile makes a separate program that returns the expression's value, or 0 if memory can't be
// read.
func (e *Expr) Compile(name string, ctx program.Context) (*program.Program, error) {
	b := build.New(name, ctx)
	fault := b.NewLabel()
	e.Emit(b, build.R0, fault)
	b.Add(asm.Return())
	if e.Reads() {
		b.Here(fault)
		b.Stop()
	}
	return b.Program()
}

// scratch are the registers that values are computed in. R5 remains for values that are needed by
// the next instruction only.
var scratch = [...]build.Reg{build.R0, build.R1, build.R2, build.R3, build.R4}

const spare = build.R5

// emitter builds an expression's code. Values at depth d are in scratch[d]; those below d are
// alive. A helper call clobbers all of them, so code with a live value puts it on the stack before
// it builds a part with a call. Calls happen at depth 0 only.
type emitter struct {
	b     *build.Builder
	fault build.Label
}

// value computes n into scratch[d].
func (g emitter) value(n *node, d int) {
	b, dst := g.b, scratch[d]
	switch n.kind {
	case kConst, kOpen:
		b.Const(dst, int64(n.value))
	case kArg:
		b.Arg(dst, n.n)
	case kRet:
		b.Result(dst, n.n)
	case kReg:
		b.Register(dst, n.text)
	case kNeg:
		g.value(n.x, d)
		b.Add(asm.Neg.Imm(dst, 0))
	case kCompl:
		g.value(n.x, d)
		b.Add(asm.Xor.Imm(dst, -1))
	case kCast:
		g.value(n.x, d)
		extend(b, dst, n)
	case kLoad:
		g.load(n, d)
	case kBinary:
		if !n.op.compares() {
			g.binary(n, d)
			return
		}
		g.boolean(n, d)
	case kNot, kAnd, kOr, kMatch:
		g.boolean(n, d)
	default:
		g.hit(n, dst)
	}
}

// hit computes a value that a helper reports about the hit.
func (g emitter) hit(n *node, dst build.Reg) {
	b := g.b
	switch n.kind {
	case kPID, kTID:
		b.PIDTGID(dst)
	case kUID, kGID:
		b.UIDGID(dst)
	case kCPU:
		b.CPU(dst)
	case kTime:
		b.Time(dst)
	case kCookie:
		b.Cookie(dst)
	case kIP:
		b.FuncIP(dst)
	}
	switch n.kind {
	case kPID, kGID:
		b.Add(asm.RSh.Imm(dst, 32))
	case kTID, kUID:
		b.Add(asm.Mov.Reg32(dst, dst))
	}
}

// extend extends the low bytes of a register as a cast does.
func extend(b *build.Builder, r build.Reg, n *node) {
	bits := int32(64 - 8*n.n)
	switch {
	case n.n == 8:
	case n.signed:
		b.Add(asm.LSh.Imm(r, bits), asm.ArSh.Imm(r, bits))
	case n.n == 4:
		b.Add(asm.Mov.Reg32(r, r))
	default:
		b.Add(asm.And.Imm(r, 1<<(8*n.n)-1))
	}
}

var sizes = map[int]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}

// load reads memory by way of a stack slot.
func (g emitter) load(n *node, d int) {
	g.value(n.x, d)
	slot := g.b.Slot(n.n)
	g.b.Read(slot, scratch[d])
	g.b.JumpIf(build.Ne(build.R0, 0), g.fault)
	g.b.LoadSize(scratch[d], slot, sizes[n.n])
	g.b.Release(slot)
}

// immediate reports whether n is a constant that fits into an instruction.
func immediate(n *node) bool {
	v := int64(n.value)
	return n.kind == kConst && v >= math.MinInt32 && v <= math.MaxInt32
}

// operands computes both sides of n: x in scratch[d], y in the register that it returns.
func (g emitter) operands(n *node, d int) (y build.Reg) {
	g.value(n.x, d)
	if d+1 < len(scratch) && !n.y.calls() {
		g.value(n.y, d+1)
		return scratch[d+1]
	}
	slot := g.b.Slot(8)
	g.b.Store(slot, scratch[d])
	g.value(n.y, d)
	g.b.Move(spare, scratch[d])
	g.b.Load(scratch[d], slot)
	g.b.Release(slot)
	return spare
}

var alu = map[op]asm.ALUOp{
	opAdd: asm.Add, opSub: asm.Sub, opMul: asm.Mul, opOr: asm.Or, opXor: asm.Xor, opAnd: asm.And, opShl: asm.LSh,
}

// aluOf returns the instruction for n.
func aluOf(n *node) asm.ALUOp {
	switch n.op {
	case opShr:
		if n.unsigned {
			return asm.RSh
		}
		return asm.ArSh
	case opDiv:
		if n.unsigned {
			return asm.Div
		}
		return asm.SDiv
	case opMod:
		if n.unsigned {
			return asm.Mod
		}
		return asm.SMod
	}
	return alu[n.op]
}

func (g emitter) binary(n *node, d int) {
	b, dst := g.b, scratch[d]
	if n.op == opAndNot {
		not := &node{kind: kCompl, pos: n.pos, x: n.y}
		g.binary(&node{kind: kBinary, op: opAnd, pos: n.pos, x: n.x, y: fold(not)}, d)
		return
	}
	op := aluOf(n)
	if immediate(n.y) && !byZero(n) {
		g.value(n.x, d)
		v := int32(int64(n.y.value))
		if n.op == opShl || n.op == opShr {
			v &= 63
		}
		b.Add(op.Imm(dst, v))
		return
	}
	b.Add(op.Reg(dst, g.operands(n, d)))
}

// byZero reports whether n divides by the constant 0. Verifiers refuse that as an immediate; in a
// register they accept it.
func byZero(n *node) bool { return (n.op == opDiv || n.op == opMod) && n.y.value == 0 }

// boolean computes a condition as 1 or 0.
func (g emitter) boolean(n *node, d int) {
	yes, end := g.b.NewLabel(), g.b.NewLabel()
	g.jump(n, true, yes, d)
	g.b.Const(scratch[d], 0)
	g.b.Jump(end)
	g.b.Here(yes)
	g.b.Const(scratch[d], 1)
	g.b.Here(end)
}
