package filter

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// parser is a recursive descent parser, one token ahead.
type parser struct {
	text  string
	what  string
	at    int // behind tok
	tok   token
	depth int
	names map[string]string
}

func (p *parser) fail(pos int, msg string) error {
	return &Error{p.text, min(max(pos, 0), len(p.text)), msg, p.what}
}

// advance makes the next token p.tok.
func (p *parser) advance() (err error) {
	p.tok, err = p.next()
	return err
}

// whole parses the whole text.
func (p *parser) whole() (*node, error) {
	if len(p.text) > MaxText {
		return nil, p.fail(MaxText, fmt.Sprintf("longer than %d bytes", MaxText))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind == tEnd {
		return nil, p.fail(0, "it is empty: a value is missing, such as arg0")
	}
	n, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tEnd {
		return nil, p.fail(p.tok.pos, fmt.Sprintf("%v after the expression", p.tok))
	}
	return n, nil
}

// operator is the meaning of a token between two operands.
type operator struct {
	level int
	op    op
	kind  kind
}

var binaries = map[string]operator{
	"||": {0, opNone, kOr},
	"&&": {1, opNone, kAnd},
	"==": {2, opEq, kBinary}, "!=": {2, opNe, kBinary}, "<": {2, opLt, kBinary},
	"<=": {2, opLe, kBinary}, ">": {2, opGt, kBinary}, ">=": {2, opGe, kBinary},
	"=~": {2, opEq, kMatch}, "!~": {2, opNe, kMatch},
	"+": {3, opAdd, kBinary}, "-": {3, opSub, kBinary}, "|": {3, opOr, kBinary}, "^": {3, opXor, kBinary},
	"*": {4, opMul, kBinary}, "/": {4, opDiv, kBinary}, "%": {4, opMod, kBinary},
	"<<": {4, opShl, kBinary}, ">>": {4, opShr, kBinary}, "&": {4, opAnd, kBinary}, "&^": {4, opAndNot, kBinary},
}

const topLevel = 5

// binary parses left-associative operators of a level and above.
func (p *parser) binary(level int) (*node, error) {
	if level == topLevel {
		return p.unary()
	}
	x, err := p.binary(level + 1)
	for err == nil {
		o, ok := binaries[p.tok.text]
		if p.tok.kind != tOp || !ok || o.level != level {
			return x, nil
		}
		at := p.tok
		if err = p.advance(); err != nil {
			break
		}
		var y *node
		if y, err = p.binary(level + 1); err == nil {
			x, err = p.combine(at, o, x, y)
		}
	}
	return nil, err
}

// combine checks the types of two operands.
func (p *parser) combine(at token, o operator, x, y *node) (*node, error) {
	if o.kind == kMatch || (o.op == opEq || o.op == opNe) && (x.kind.isString() || y.kind.isString()) {
		return p.match(at, o, x, y)
	}
	for _, n := range []*node{x, y} {
		if n.kind.isString() {
			return nil, p.fail(n.pos, fmt.Sprintf("%s takes no string", at.text))
		}
	}
	n := &node{kind: o.kind, op: o.op, pos: at.pos, x: x, y: y}
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
func (p *parser) match(at token, o operator, x, y *node) (*node, error) {
	if x.kind == kLiteral {
		x, y = y, x
	}
	if x.kind != kStr && x.kind != kComm {
		return nil, p.fail(x.pos, fmt.Sprintf("%s compares str(address) or comm with a string", at.text))
	}
	if y.kind != kLiteral {
		return nil, p.fail(y.pos, `a string is compared with a literal, as "text"`)
	}
	m := &node{kind: kMatch, pos: at.pos, x: x, text: y.text}
	if o.kind == kMatch {
		if head, ok := strings.CutSuffix(y.text, "*"); ok {
			m.text, m.n = head, prefix
		}
		if strings.IndexByte(m.text, '*') >= 0 {
			return nil, p.fail(y.pos, "* matches at the end of a string only")
		}
	}
	if x.kind == kComm && len(m.text) > maxComm {
		return nil, p.fail(y.pos, fmt.Sprintf("the name of a thread has no more than %d bytes", maxComm))
	}
	if o.op == opNe {
		return &node{kind: kNot, pos: at.pos, x: m}, nil
	}
	return m, nil
}

var unaries = map[string]kind{"!": kNot, "-": kNeg, "^": kCompl, "~": kCompl}

func (p *parser) unary() (*node, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return nil, p.fail(p.tok.pos, fmt.Sprintf("nested more than %d deep", maxDepth))
	}
	if p.tok.kind == tOp && p.tok.text == "!~" { // two operators here
		p.tok.text, p.at = "!", p.tok.pos+1
	}
	at := p.tok
	k, ok := unaries[at.text]
	if at.kind != tOp || !ok {
		return p.primary()
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	x, err := p.unary()
	if err != nil {
		return nil, err
	}
	if x.kind.isString() {
		return nil, p.fail(x.pos, fmt.Sprintf("%s takes no string", at.text))
	}
	return &node{kind: k, pos: at.pos, x: x, unsigned: k != kNot && x.unsigned}, nil
}

func (p *parser) primary() (*node, error) {
	t := p.tok
	switch {
	case t.kind == tOp && t.text == "(":
		return p.parens()
	case t.kind == tEnd || t.kind == tOp:
		return nil, p.fail(t.pos, fmt.Sprintf("a value is missing before %v", t))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	switch t.kind {
	case tNumber:
		return &node{kind: kConst, pos: t.pos, value: t.num, unsigned: t.u || t.num > math.MaxInt64}, nil
	case tString:
		return &node{kind: kLiteral, pos: t.pos, text: t.text}, nil
	case tReg:
		return &node{kind: kReg, pos: t.pos, text: t.text}, nil
	}
	return p.name(t)
}

// parens parses an expression in parentheses; p.tok is the first.
func (p *parser) parens() (*node, error) {
	open := p.tok
	if open.kind != tOp || open.text != "(" {
		return nil, p.fail(open.pos, fmt.Sprintf("( is missing before %v", open))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tOp || p.tok.text != ")" {
		return nil, p.fail(p.tok.pos, fmt.Sprintf(") is missing before %v", p.tok))
	}
	return n, p.advance()
}

// name parses an expression that begins with the name t; p.tok is the token behind t.
func (p *parser) name(t token) (*node, error) {
	if k, ok := names[t.text]; ok {
		return &node{kind: k, pos: t.pos}, nil
	}
	if n, ok := argument(t.text); ok {
		return &node{kind: kArg, pos: t.pos, n: n}, nil
	}
	if text, ok := p.names[t.text]; ok {
		return p.alias(t, text)
	}
	n := &node{pos: t.pos}
	c, isCast := casts[t.text]
	size, isLoad := loads[t.text]
	switch {
	case isCast:
		n.kind, n.n, n.signed, n.unsigned = kCast, c.bytes, c.signed, !c.signed && c.bytes == 8
	case isLoad:
		n.kind, n.n, n.unsigned = kLoad, size, size == 8
	case t.text == "str":
		n.kind = kStr
	default:
		return nil, p.fail(t.pos, fmt.Sprintf("%q is not known%s", t.text, p.known()))
	}
	x, err := p.parens()
	if err != nil {
		return nil, err
	}
	if x.kind.isString() {
		return nil, p.fail(x.pos, t.text+" takes a number")
	}
	n.x = x
	return n, nil
}

// known lists the additional names.
func (p *parser) known() string {
	if len(p.names) == 0 {
		return ""
	}
	return ": there are " + strings.Join(slices.Sorted(maps.Keys(p.names)), ", ")
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

// alias parses the expression that an additional name stands for.
func (p *parser) alias(t token, text string) (*node, error) {
	q := parser{text: text, depth: p.depth}
	n, err := q.whole()
	if err != nil {
		return nil, p.fail(t.pos, fmt.Sprintf("%s is %q, which is wrong: %v", t.text, text, err))
	}
	n.any(func(n *node) bool { n.pos = t.pos; return false })
	return n, nil
}
