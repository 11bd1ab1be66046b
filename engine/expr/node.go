package expr

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Node is an expression, as it is written.
type Node interface {
	Pos() int       // where it begins in the text; of an operation where the operator is
	String() string // with all parentheses; Parse reads it back
}

// At is an offset in the text.
type At int

// Pos implements Node.
func (a At) Pos() int { return int(a) }

// The forms of expressions.
type (
	// Number is a constant; Unsigned is its suffix u.
	Number struct {
		At
		Value    uint64
		Unsigned bool
	}
	// Text is a string.
	Text struct {
		At
		Value string
	}
	// Register is $Name.
	Register struct {
		At
		Name string
	}
	// Name is a name, with what "::" joins.
	Name struct {
		At
		Name string
	}
	// Unary is an operator in front of a value: ! - ~ * &.
	Unary struct {
		At
		Op string
		X  Node
	}
	// Binary is an operator between two values.
	Binary struct {
		At
		Op   string
		X, Y Node
	}
	// Call is Fun(Args...): a function of the language, or a cast.
	Call struct {
		At
		Fun  string
		Args []Node
	}
	// Member is X.Name or X->Name.
	Member struct {
		At
		X    Node
		Name string
	}
	// Index is X[I].
	Index struct {
		At
		X, I Node
	}
	// Slice is X[Low:High]; both may be nil.
	Slice struct {
		At
		X, Low, High Node
	}
	// Cast is (Type)X: a type's name, and how many pointers lead to it.
	Cast struct {
		At
		Type string
		Ptrs int
		X    Node
	}
)

func (n *Number) String() string {
	if n.Unsigned || n.Value > math.MaxInt64 {
		return strconv.FormatUint(n.Value, 10) + "u"
	}
	return strconv.FormatUint(n.Value, 10)
}

func (n *Text) String() string     { return Quote(n.Value) }
func (n *Register) String() string { return "$" + n.Name }
func (n *Name) String() string     { return n.Name }
func (n *Unary) String() string    { return n.Op + operand(n.X) }
func (n *Binary) String() string   { return fmt.Sprintf("(%s %s %s)", n.X, n.Op, n.Y) }
func (n *Member) String() string   { return operand(n.X) + "." + n.Name }
func (n *Index) String() string    { return fmt.Sprintf("%s[%s]", operand(n.X), n.I) }

func (n *Call) String() string {
	args := make([]string, len(n.Args))
	for i, a := range n.Args {
		args[i] = a.String()
	}
	return n.Fun + "(" + strings.Join(args, ", ") + ")"
}

func (n *Slice) String() string {
	s := operand(n.X) + "["
	if n.Low != nil {
		s += n.Low.String()
	}
	s += ":"
	if n.High != nil {
		s += n.High.String()
	}
	return s + "]"
}

func (n *Cast) String() string {
	of := n.Type
	if n.Ptrs > 0 {
		of += " " + strings.Repeat("*", n.Ptrs)
	}
	return fmt.Sprintf("((%s)%s)", of, operand(n.X))
}

// operand writes a value that an operator stands next to.
func operand(n Node) string {
	switch n.(type) {
	case *Unary, *Slice:
		return "(" + n.String() + ")"
	}
	return n.String()
}

// Walk calls f for a node and all below it, until f returns false.
func Walk(n Node, f func(Node) bool) bool {
	if !f(n) {
		return false
	}
	for _, c := range children(n) {
		if c != nil && !Walk(c, f) {
			return false
		}
	}
	return true
}

// children are the values that an operation is on; some may be nil.
func children(n Node) []Node {
	switch n := n.(type) {
	case *Unary:
		return []Node{n.X}
	case *Binary:
		return []Node{n.X, n.Y}
	case *Call:
		return n.Args
	case *Member:
		return []Node{n.X}
	case *Index:
		return []Node{n.X, n.I}
	case *Slice:
		return []Node{n.X, n.Low, n.High}
	case *Cast:
		return []Node{n.X}
	}
	return nil
}

// Quote writes a string's bytes in a form that Parse reads back.
func Quote(s string) string {
	out := []byte{'"'}
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			out = fmt.Appendf(out, `\x%02x`, c)
			continue
		}
		out = append(out, c)
	}
	return string(append(out, '"'))
}
