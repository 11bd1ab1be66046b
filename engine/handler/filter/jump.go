package filter

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/build"
)

// jump continues at to if the condition n is when; otherwise behind the jump.
func (g emitter) jump(n *node, when bool, to build.Label, d int) {
	switch {
	case n.kind == kNot:
		g.jump(n.x, !when, to, d)
	case n.kind == kAnd || n.kind == kOr:
		g.logic(n, when, to, d)
	case n.kind == kMatch:
		g.match(n, when, to)
	case n.kind == kBinary && n.op.compares():
		g.compare(n, when, to, d)
	case n.kind == kBinary && n.op == opAnd && immediate(n.y):
		g.value(n.x, d)
		g.branch(build.Bits(scratch[d], int64(n.y.value)), when, to)
	default:
		g.value(n, d)
		g.branch(build.Ne(scratch[d], 0), when, to)
	}
}

// branch continues at to if c is when.
func (g emitter) branch(c build.Cond, when bool, to build.Label) {
	if when {
		g.b.JumpIf(c, to)
	} else {
		g.b.JumpUnless(c, to)
	}
}

// logic jumps for && and ||; the right side is evaluated only if the left one does not decide.
func (g emitter) logic(n *node, when bool, to build.Label, d int) {
	decides := n.kind == kOr // the value of a side that decides the result
	if when == decides {
		g.jump(n.x, when, to, d)
		g.jump(n.y, when, to, d)
		return
	}
	over := g.b.NewLabel()
	g.jump(n.x, decides, over, d)
	g.jump(n.y, when, to, d)
	g.b.Here(over)
}

// conds are the comparisons, signed and unsigned.
var conds = map[op][2]asm.JumpOp{
	opEq: {asm.JEq, asm.JEq}, opNe: {asm.JNE, asm.JNE}, opLt: {asm.JSLT, asm.JLT},
	opLe: {asm.JSLE, asm.JLE}, opGt: {asm.JSGT, asm.JGT}, opGe: {asm.JSGE, asm.JGE},
}

func (g emitter) compare(n *node, when bool, to build.Label, d int) {
	op := conds[n.op][0]
	if n.x.unsigned || n.y.unsigned {
		op = conds[n.op][1]
	}
	c := build.Cond{Op: op, Reg: scratch[d]}
	if immediate(n.y) {
		g.value(n.x, d)
		c.Imm = int64(n.y.value)
	} else {
		c = c.With(g.operands(n, d))
	}
	g.branch(c, when, to)
}

// match compares a string. It must be at depth 0, since it calls a helper.
func (g emitter) match(n *node, when bool, to build.Label) {
	b := g.b
	no := to // where to continue if a byte differs
	if when {
		no = b.NewLabel()
	}
	var slot build.Mem
	bytes := []byte(n.text)
	if n.x.kind == kComm {
		slot = b.Slot(16)
		b.Comm(slot)
		if n.n == whole {
			bytes = append(bytes, make([]byte, 16-len(bytes))...)
		}
	} else {
		slot = g.readString(n, no)
	}
	g.sameBytes(slot, bytes, no)
	b.Release(slot)
	if when {
		b.Jump(to)
		b.Here(no)
	}
}

// readString reads as much of the string as the comparison needs; a string of another length
// continues at no.
func (g emitter) readString(n *node, no build.Label) build.Mem {
	b := g.b
	if lengthOf(n.x) != nil {
		return g.readSized(n, no)
	}
	g.value(n.x.x, 0)
	size := len(n.text) + 2
	if n.n == prefix {
		size--
	}
	slot := b.Slot(size)
	b.ReadString(slot, build.R0)
	b.JumpIf(build.SLt(build.R0, 0), g.fault)
	if size > 1 {
		b.JumpIf(build.Ne(build.R0, int64(len(n.text)+1)), no)
	}
	return slot
}

// readSized reads the compared bytes of a string that has a length; if the length can't match it
// continues at no.
func (g emitter) readSized(n *node, no build.Label) build.Mem {
	b, size := g.b, int64(len(n.text))
	g.value(lengthOf(n.x), 0)
	if n.n == prefix {
		b.JumpIf(build.Lt(build.R0, size), no)
	} else {
		b.JumpIf(build.Ne(build.R0, size), no)
	}
	slot := b.Slot(max(len(n.text), 1))
	if size > 0 {
		g.value(n.x.x, 0)
		b.Read(slot, build.R0)
		b.JumpIf(build.Ne(build.R0, 0), g.fault)
	}
	return slot
}

// sameBytes continues at no unless memory holds the bytes.
func (g emitter) sameBytes(m build.Mem, want []byte, no build.Label) {
	for len(want) > 0 {
		n := 8
		for n > len(want) {
			n /= 2
		}
		var v [8]byte
		copy(v[:], want[:n])
		g.b.LoadSize(build.R0, m, sizes[n])
		g.b.JumpIf(build.Ne(build.R0, int64(binary.LittleEndian.Uint64(v[:]))), no)
		m, want = m.Add(n), want[n:]
	}
}
