package filter

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/engine/expr"
)

// checker gives an expression's parts their meaning and types.
type checker struct {
	expr.Source
	open bool // see Options
}

// number checks a part that has to be a number.
func (c checker) number(n expr.Node, of string) (*node, error) {
	x, err := c.node(n)
	if err == nil && x.kind.isString() {
		return nil, c.Fail(x.pos, of)
	}
	return x, err
}

// node checks a part.
func (c checker) node(n expr.Node) (*node, error) {
	switch n := n.(type) {
	case *expr.Number:
		return &node{kind: kConst, pos: n.Pos(), value: n.Value, unsigned: n.Unsigned || n.Value > math.MaxInt64}, nil
	case *expr.Text:
		return &node{kind: kLiteral, pos: n.Pos(), text: n.Value}, nil
	case *expr.Register:
		return &node{kind: kReg, pos: n.Pos(), text: n.Name}, nil
	case *expr.Name:
		return c.name(n)
	case *expr.Unary:
		return c.unary(n)
	case *expr.Binary:
		return c.binary(n)
	case *expr.Call:
		return c.call(n)
	}
	return c.opened(n, needsNames)
}

// opened is a part that has no meaning here: one that is still to be replaced, or a mistake.
func (c checker) opened(n expr.Node, why string) (*node, error) {
	if !c.open {
		return nil, c.Fail(n.Pos(), why)
	}
	o := &node{kind: kOpen, pos: n.Pos()}
	expr.Walk(n, func(n expr.Node) bool {
		if name, ok := n.(*expr.Name); ok {
			if names[name.Name] == kRet {
				o.ret = true
			} else if !IsWord(name.Name) || argumentName(name.Name) {
				o.arg = true
			}
		}
		return true
	})
	return o, nil
}

// argumentName reports whether a name is argN.
func argumentName(name string) bool {
	_, ok := argument(name)
	return ok
}

// needsNames says of an expression why it has no meaning here.
const needsNames = "members, elements and pointers need the names of a program with debug information"

// operator is the meaning of an operator between two values.
type operator struct {
	op   op
	kind kind
}

var binaries = map[string]operator{
	"||": {opNone, kOr}, "&&": {opNone, kAnd},
	"==": {opEq, kBinary}, "!=": {opNe, kBinary}, "<": {opLt, kBinary},
	"<=": {opLe, kBinary}, ">": {opGt, kBinary}, ">=": {opGe, kBinary},
	"=~": {opEq, kMatch}, "!~": {opNe, kMatch},
	"+": {opAdd, kBinary}, "-": {opSub, kBinary}, "|": {opOr, kBinary}, "^": {opXor, kBinary},
	"*": {opMul, kBinary}, "/": {opDiv, kBinary}, "%": {opMod, kBinary},
	"<<": {opShl, kBinary}, ">>": {opShr, kBinary}, "&": {opAnd, kBinary}, "&^": {opAndNot, kBinary},
}

// binary checks an operation on two values.
func (c checker) binary(at *expr.Binary) (*node, error) {
	o := binaries[at.Op]
	x, err := c.node(at.X)
	if err != nil {
		return nil, err
	}
	y, err := c.node(at.Y)
	if err != nil {
		return nil, err
	}
	if c.open && (x.isOpen() || y.isOpen()) {
		return c.opened(at, "")
	}
	if o.kind == kMatch || (o.op == opEq || o.op == opNe) && (x.kind.isString() || y.kind.isString()) {
		return c.match(at, o, x, y)
	}
	for _, n := range []*node{x, y} {
		if n.kind.isString() {
			return nil, c.Fail(n.pos, fmt.Sprintf("%s takes no string", at.Op))
		}
	}
	n := &node{kind: o.kind, op: o.op, pos: at.Pos(), x: x, y: y}
	switch {
	case o.kind != kBinary || o.op.compares():
	case o.op == opShl || o.op == opShr:
		n.unsigned = x.unsigned
	default:
		n.unsigned = x.unsigned || y.unsigned
	}
	return n, nil
}

// match checks a comparison of strings.
func (c checker) match(at *expr.Binary, o operator, x, y *node) (*node, error) {
	if x.kind == kLiteral {
		x, y = y, x
	}
	if x.kind != kStr && x.kind != kComm {
		return nil, c.Fail(x.pos, fmt.Sprintf("%s compares str(address) or comm with a string", at.Op))
	}
	if y.kind != kLiteral {
		return nil, c.Fail(y.pos, `a string is compared with a literal, as "text"`)
	}
	m := &node{kind: kMatch, pos: at.Pos(), x: x, text: y.text}
	if o.kind == kMatch {
		if head, ok := strings.CutSuffix(y.text, "*"); ok {
			m.text, m.n = head, prefix
		}
		if strings.IndexByte(m.text, '*') >= 0 {
			return nil, c.Fail(y.pos, "* matches at the end of a string only")
		}
	}
	if x.kind == kComm && len(m.text) > maxComm {
		return nil, c.Fail(y.pos, fmt.Sprintf("the name of a thread has no more than %d bytes", maxComm))
	}
	if o.op == opNe {
		return &node{kind: kNot, pos: at.Pos(), x: m}, nil
	}
	return m, nil
}

var unaries = map[string]kind{"!": kNot, "-": kNeg, "~": kCompl}

// unary checks an operation on one value.
func (c checker) unary(n *expr.Unary) (*node, error) {
	k, ok := unaries[n.Op]
	if !ok {
		return c.opened(n, needsNames)
	}
	x, err := c.number(n.X, n.Op+" takes no string")
	if err != nil {
		return nil, err
	}
	if x.isOpen() {
		return c.opened(n, "")
	}
	return &node{kind: k, pos: n.Pos(), x: x, unsigned: k != kNot && x.unsigned}, nil
}

// call checks a cast, a load, or a string in memory.
func (c checker) call(n *expr.Call) (*node, error) {
	of := &node{pos: n.Pos()}
	to, isCast := casts[n.Fun]
	size, isLoad := loads[n.Fun]
	most := 1
	switch {
	case isCast:
		of.kind, of.n, of.signed, of.unsigned = kCast, to.bytes, to.signed, !to.signed && to.bytes == 8
	case isLoad:
		of.kind, of.n, of.unsigned = kLoad, size, size == 8
	case n.Fun == "str":
		of.kind, most = kStr, 2
	default:
		return c.unknown(n, n.Fun)
	}
	if len(n.Args) > most {
		return nil, c.Fail(n.Args[most].Pos(), fmt.Sprintf("%s takes %s", n.Fun, []string{"one number", "an address, and a length"}[most-1]))
	}
	var err error
	if of.x, err = c.number(n.Args[0], n.Fun+" takes a number"); err == nil && len(n.Args) == 2 {
		of.y, err = c.number(n.Args[1], n.Fun+" takes a number")
	}
	if err != nil {
		return nil, err
	}
	if of.x.isOpen() || of.y.isOpen() {
		open, err := c.opened(n, "")
		if err == nil {
			open.unsigned = of.unsigned
		}
		return open, err
	}
	return of, nil
}

// name checks a name.
func (c checker) name(n *expr.Name) (*node, error) {
	if k, ok := names[n.Name]; ok {
		return &node{kind: k, pos: n.Pos()}, nil
	}
	if i, ok := argument(n.Name); ok {
		return &node{kind: kArg, pos: n.Pos(), n: i}, nil
	}
	return c.unknown(n, n.Name)
}

// unknown is a name that the language does not know.
func (c checker) unknown(n expr.Node, name string) (*node, error) {
	if _, ok := casts[name]; ok || name == "str" || loads[name] != 0 {
		return nil, c.Fail(n.Pos(), fmt.Sprintf("%s takes a number in parentheses", name))
	}
	return c.opened(n, fmt.Sprintf("%q is not known", name))
}

// maxArg is the last argument that any calling convention passes in a register.
const maxArg = 15

// argument returns n of argN.
func argument(s string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(s, "arg")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n > maxArg || digits != strconv.Itoa(n) {
		return 0, false
	}
	return n, true
}
