package filter

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// What an expression's values are depends on the convention by which the function is
// called. Registers are the Builder's business; here is what is more than that.

// under is n for functions of a context's calling convention: str(argN) and str(ret)
// are two words in Go, and what lies on the stack is loaded from there.
func under(n *node, ctx program.Context) *node {
	if n == nil || ctx.Calls == arch.C {
		return n
	}
	c := *n
	if c.kind == kStr && (c.x.kind == kArg || c.x.kind == kRet) {
		length := *c.x
		length.n++
		c.y = &length
	}
	c.x, c.y = under(c.x, ctx), under(c.y, ctx)
	if c.kind == kArg && ctx.Calls == arch.GoStack {
		return onStack(&c, ctx)
	}
	return &c
}

// onStack is an argument as what is loaded from where it lies.
func onStack(n *node, ctx program.Context) *node {
	sp := &node{kind: kReg, pos: n.pos, text: map[string]string{"amd64": "rsp", "arm64": "sp"}[ctx.Arch]}
	off := &node{kind: kConst, pos: n.pos, value: uint64(arch.StackArg(n.n))}
	at := &node{kind: kBinary, op: opAdd, pos: n.pos, unsigned: true, x: sp, y: off}
	return &node{kind: kLoad, n: 8, pos: n.pos, arg: true, x: at}
}

// lengthOf is what a string's length is, nil where a 0 ends it.
func lengthOf(str *node) *node { return str.y }
