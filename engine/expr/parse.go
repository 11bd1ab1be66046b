package expr

import (
	"fmt"
	"math"
	"slices"
)

// Parse reads an expression. Errors are an *Error.
func Parse(s Source) (Node, error) {
	p := parser{Source: s}
	if len(p.Text) > MaxText {
		return nil, p.Fail(MaxText, fmt.Sprintf("longer than %d bytes", MaxText))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind == tEnd {
		return nil, p.Fail(0, "it is empty: a value is missing, such as arg0")
	}
	n, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tEnd {
		return nil, p.Fail(p.tok.pos, fmt.Sprintf("%v after the expression", p.tok))
	}
	return n, nil
}

// parser is a recursive descent parser, one token ahead.
type parser struct {
	Source
	at    int // behind tok
	tok   token
	depth int
}

// advance makes the next token p.tok.
func (p *parser) advance() (err error) {
	p.tok, err = p.next()
	return err
}

// is reports whether the next token is an operator.
func (p *parser) is(op string) bool { return p.tok.kind == tOp && p.tok.text == op }

// expect passes an operator.
func (p *parser) expect(op string) error {
	if !p.is(op) {
		return p.Fail(p.tok.pos, fmt.Sprintf("%s is missing before %v", op, p.tok))
	}
	return p.advance()
}

// levels are the operators between two values, those that bind least first.
var levels = [][]string{
	{"||"},
	{"&&"},
	{"==", "!=", "<", "<=", ">", ">=", "=~", "!~"},
	{"+", "-", "|", "^"},
	{"*", "/", "%", "<<", ">>", "&", "&^"},
}

// binary parses left-associative operators of a level and above.
func (p *parser) binary(level int) (Node, error) {
	if level == len(levels) {
		return p.unary()
	}
	x, err := p.binary(level + 1)
	for err == nil {
		at := p.tok
		if at.kind != tOp || !slices.Contains(levels[level], at.text) {
			return x, nil
		}
		if err = p.advance(); err != nil {
			break
		}
		var y Node
		y, err = p.binary(level + 1)
		x = &Binary{At(at.pos), at.text, x, y}
	}
	return nil, err
}

// unaries are the operators in front of a value.
var unaries = []string{"!", "-", "^", "~", "*", "&"}

func (p *parser) unary() (Node, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return nil, p.Fail(p.tok.pos, fmt.Sprintf("nested more than %d deep", maxDepth))
	}
	if p.is("!~") { // two operators here
		p.tok.text, p.at = "!", p.tok.pos+1
	}
	if p.is("&&") { // as the lexer reads two addresses of
		return nil, p.Fail(p.tok.pos, `a value is missing before "&&"`)
	}
	at := p.tok
	if at.kind != tOp || !slices.Contains(unaries, at.text) {
		return p.postfix()
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	x, err := p.unary()
	if err != nil {
		return nil, err
	}
	op := at.text
	if op == "^" {
		op = "~"
	}
	return &Unary{At(at.pos), op, x}, nil
}

// postfix parses a value with what follows it: members and elements.
func (p *parser) postfix() (Node, error) {
	x, err := p.primary()
	for n := 0; err == nil; n++ {
		at := p.tok
		switch {
		case n > maxDepth:
			return nil, p.Fail(at.pos, fmt.Sprintf("nested more than %d deep", maxDepth))
		case p.is(".") || p.is("->"):
			x, err = p.member(at, x)
		case p.is("["):
			x, err = p.element(at, x)
		default:
			return x, nil
		}
	}
	return nil, err
}

// member parses the name behind a dot or an arrow; Rust has numbers there, and Go pointers that a dot
// follows: x.0, x.*.
func (p *parser) member(at token, x Node) (Node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	t := p.tok
	switch {
	case t.kind == tName || t.kind == tNumber:
		return &Member{At(at.pos), x, t.text}, p.advance()
	case p.is("*"):
		return &Unary{At(t.pos), "*", x}, p.advance()
	}
	return nil, p.Fail(t.pos, fmt.Sprintf("a member's name is missing before %v", t))
}

// element parses what brackets hold.
func (p *parser) element(at token, x Node) (Node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	bound := func() (Node, error) {
		if p.is(":") || p.is("]") {
			return nil, nil
		}
		return p.binary(0)
	}
	low, err := bound()
	if err != nil {
		return nil, err
	}
	if !p.is(":") {
		if low == nil {
			return nil, p.Fail(p.tok.pos, fmt.Sprintf("a value is missing before %v", p.tok))
		}
		return &Index{At(at.pos), x, low}, p.expect("]")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	high, err := bound()
	if err != nil {
		return nil, err
	}
	return &Slice{At(at.pos), x, low, high}, p.expect("]")
}

func (p *parser) primary() (Node, error) {
	t := p.tok
	switch {
	case p.is("("):
		if n, ok, err := p.cast(); ok || err != nil {
			return n, err
		}
		return p.parens()
	case t.kind == tEnd || t.kind == tOp:
		return nil, p.Fail(t.pos, fmt.Sprintf("a value is missing before %v", t))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	switch t.kind {
	case tNumber:
		return &Number{At(t.pos), t.num, t.u || t.num > math.MaxInt64}, nil
	case tString:
		return &Text{At(t.pos), t.text}, nil
	case tReg:
		return &Register{At(t.pos), t.text}, nil
	}
	if !p.is("(") {
		return &Name{At(t.pos), t.text}, nil
	}
	args, err := p.args()
	return &Call{At(t.pos), t.text, args}, err
}

// parens parses an expression in parentheses; p.tok is the first.
func (p *parser) parens() (Node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	return n, p.expect(")")
}

// args parses what parentheses behind a name hold.
func (p *parser) args() (list []Node, err error) {
	for more := true; more; more = p.is(",") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		n, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, p.expect(")")
}

// typeWords begin the names of types that are no values.
var typeWords = []string{"struct", "union", "enum", "class", "unsigned", "signed", "const", "volatile", "long", "short", "char", "float", "double", "bool", "void"}

// cast parses a cast in C's form, if the parenthesis opens one; else it leaves the place as it was.
func (p *parser) cast() (n Node, ok bool, err error) {
	from := *p
	restore := func() (Node, bool, error) {
		*p = from
		return nil, false, nil
	}
	at := p.tok
	if err := p.advance(); err != nil {
		return nil, false, err
	}
	c := &Cast{At: At(at.pos)}
	sure := p.tok.kind == tName && slices.Contains(typeWords, p.tok.text)
	for p.tok.kind == tName {
		if c.Type != "" {
			c.Type += " "
		}
		c.Type += p.tok.text
		if p.advance() != nil {
			return restore()
		}
	}
	for ; p.is("*"); c.Ptrs++ {
		if p.advance() != nil {
			return restore()
		}
	}
	if c.Type == "" || !p.is(")") || p.advance() != nil {
		return restore()
	}
	value := p.tok.kind != tOp && p.tok.kind != tEnd
	if !sure && !value && (c.Ptrs == 0 || p.tok.kind == tEnd) {
		return restore()
	}
	c.X, err = p.unary()
	return c, true, err
}
