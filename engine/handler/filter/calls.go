package filter

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// The values of an expression depend on the calling convention of the function. The Builder handles
// registers; this file handles the rest.

// under adapts n to functions of a context's calling convention: str(argN) and str(ret) are two
// words in Go, and arguments on the stack become loads.
func under(n *node, ctx program.Context) *node {
	if n == nil || ctx.Calls == arch.C {
		return n
	}
	c := *n
	if c.kind == kStr && c.y == nil && (c.x.kind == kArg || c.x.kind == kRet) {
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

// onStack turns an argument on the stack into a load.
func onStack(n *node, ctx program.Context) *node {
	sp := &node{kind: kReg, pos: n.pos, text: map[string]string{"amd64": "rsp", "arm64": "sp"}[ctx.Arch]}
	off := &node{kind: kConst, pos: n.pos, value: uint64(arch.StackArg(n.n))}
	at := &node{kind: kBinary, op: opAdd, pos: n.pos, unsigned: true, x: sp, y: off}
	return &node{kind: kLoad, n: 8, pos: n.pos, arg: true, x: at}
}

// lengthOf returns the length of a string, nil if a 0 ends the string.
func lengthOf(str *node) *node { return str.y }
