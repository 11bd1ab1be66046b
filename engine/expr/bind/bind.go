// Package bind gives expressions their meaning at a place of a program: names become what the debug
// information says of them there. The result is an expression of package filter, over registers and
// memory, so that the program itself, the engine and the kernel compute the same.
//
// The words of package filter (arg0, pid, comm, ...) stay what they are; a variable of the function that
// has such a name is args.NAME. ret has the type of the function's result.
package bind

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/value"
	"github.com/ptracer/ptracer/printable"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
	"github.com/ptracer/ptracer/symbols/scope"
)

// Options say how values are read.
type Options struct {
	Text     string // the expression
	What     string // what errors call it, see expr.Error
	MaxText  int    // bytes of a string; 0: 64
	MaxBytes int    // bytes of a structure or an array; 0: 256
}

const (
	maxText  = 64
	maxBytes = 256
)

// Number binds an expression that has a number as its value, such as a condition.
func Number(s *scope.Scope, o Options) (string, error) {
	b, o1, err := begin(s, o)
	if err != nil {
		return "", err
	}
	n, err := b.number(o1)
	if err != nil {
		return "", err
	}
	return n.String(), nil
}

// Value binds an expression whose value is to be shown.
func Value(s *scope.Scope, o Options) (value.Field, error) {
	b, x, err := begin(s, o)
	if err != nil {
		return value.Field{}, err
	}
	return b.field(x)
}

// Of binds a variable that is to be shown.
func Of(s *scope.Scope, v *scope.Variable, o Options) (value.Field, error) {
	b := binder{scope: s, Options: o, Source: expr.Source{Text: v.Name, What: o.What}}
	x, err := b.variable(0, v)
	if err != nil {
		return value.Field{}, err
	}
	return b.field(x)
}

func begin(s *scope.Scope, o Options) (*binder, operand, error) {
	b := &binder{scope: s, Options: o, Source: expr.Source{Text: o.Text, What: o.What}}
	tree, err := expr.Parse(b.Source)
	if err != nil {
		return nil, operand{}, err
	}
	if name, ok := tree.(*expr.Name); ok {
		b.bare = name.Name == "ret"
	}
	x, err := b.node(tree)
	return b, x, err
}

// Asks reports whether an expression has names of the program in it, beside the words of package filter.
func Asks(n expr.Node) (asks bool) {
	expr.Walk(n, func(n expr.Node) bool {
		switch n := n.(type) {
		case *expr.Name:
			asks = asks || !filter.IsWord(n.Name)
		case *expr.Unary:
			asks = asks || n.Op == "*" || n.Op == "&"
		case *expr.Call:
			asks = asks || !filter.IsFunction(n.Fun)
		case *expr.Member, *expr.Index, *expr.Slice, *expr.Cast:
			asks = true
		}
		return !asks
	})
	return asks
}

// binder binds one expression.
type binder struct {
	scope *scope.Scope
	bare  bool // the expression is ret alone: the register, whatever is in it
	Options
	expr.Source
}

// of is the type of an operand: Ptrs pointers to T; without a T it is a number of the language.
type of struct {
	t    *types.Type
	ptrs int
}

// operand is a part of an expression that has been bound. One of word, addr, pieces, text and str says
// what it is.
type operand struct {
	of
	pos    int
	word   expr.Node // its value
	addr   expr.Node // its address in memory
	pieces []piece
	text   *expr.Text // a literal
	str    *expr.Call // str(address), str(address, length)
	comm   bool
	bits   *types.Member // of a bit field; addr is that of the structure
	name   string        // for errors
}

// piece is a part of a value that is in several places.
type piece struct {
	at, size int64
	word     expr.Node // its value; nil: nothing is known of it
	addr     expr.Node // its address, instead
}

// ErrNoValue is wrapped by errors that say a name is known, but its value is not to be had at a place.
var ErrNoValue = errors.New("has no value here")

// noValue is an ErrNoValue with its reason.
type noValue struct{ why string }

func (e noValue) Error() string { return ErrNoValue.Error() + ": " + e.why }

// Unwrap makes it an ErrNoValue.
func (e noValue) Unwrap() error { return ErrNoValue }

// Missing makes the field of an error that wraps ErrNoValue: the reason stands for the value. It reports
// false for another error.
func Missing(err error) (value.Field, bool) {
	var why noValue
	if !errors.As(err, &why) {
		return value.Field{}, false
	}
	return value.Field{Type: &value.Type{Kind: value.Missing, Name: why.why}}, true
}

// fail is a mistake, or something that is not there, at an operand.
func (b *binder) fail(pos int, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	e := b.Fail(pos, err.Error())
	if cause := errors.Unwrap(err); cause != nil {
		return &failed{e, cause}
	}
	return e
}

// failed is an error at a place of the text that has a cause.
type failed struct {
	error
	cause error
}

// Lines are those of the mistake.
func (f *failed) Lines() []string { return printable.Lines(f.error) }

// Unwrap makes errors.Is and As find both.
func (f *failed) Unwrap() []error { return []error{f.error, f.cause} }

// num makes a number.
func num(n int64) expr.Node {
	if n < 0 {
		return &expr.Unary{Op: "-", X: &expr.Number{Value: uint64(-n)}}
	}
	return &expr.Number{Value: uint64(n)}
}

// plus adds a constant to an address.
func plus(n expr.Node, off int64) expr.Node {
	if off == 0 {
		return n
	}
	if x, ok := n.(*expr.Binary); ok {
		switch c, ok := x.Y.(*expr.Number); {
		case ok && x.Op == "+":
			return plus(x.X, int64(c.Value)+off)
		case ok && x.Op == "-":
			return plus(x.X, off-int64(c.Value))
		}
	}
	if off < 0 {
		return &expr.Binary{Op: "-", X: n, Y: num(-off)}
	}
	return &expr.Binary{Op: "+", X: n, Y: num(off)}
}

func call(fun string, args ...expr.Node) *expr.Call { return &expr.Call{Fun: fun, Args: args} }

// load reads a number of size bytes at an address.
func load(addr expr.Node, size int64) expr.Node { return call(fmt.Sprintf("load%d", 8*size), addr) }

// cast cuts a number to size bytes.
func cast(n expr.Node, size int64, signed bool) expr.Node {
	if c, ok := n.(*expr.Call); ok && !signed && (c.Fun == fmt.Sprintf("uint%d", 8*size) || c.Fun == fmt.Sprintf("load%d", 8*size)) {
		return n
	}
	if signed {
		return call(fmt.Sprintf("int%d", 8*size), n)
	}
	return call(fmt.Sprintf("uint%d", 8*size), n)
}
