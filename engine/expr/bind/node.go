package bind

import (
	"errors"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
	"github.com/ptracer/ptracer/symbols/scope"
)

// node binds a part of an expression.
func (b *binder) node(n expr.Node) (operand, error) {
	at := n.Pos()
	switch n := n.(type) {
	case *expr.Number, *expr.Register:
		return operand{pos: at, word: n}, nil
	case *expr.Text:
		return operand{pos: at, text: n}, nil
	case *expr.Name:
		return b.name(n)
	case *expr.Unary:
		return b.unary(n)
	case *expr.Binary:
		return b.binary(n)
	case *expr.Call:
		return b.call(n)
	case *expr.Member:
		return b.memberNode(n)
	case *expr.Index:
		x, err := b.node(n.X)
		if err != nil {
			return x, err
		}
		i, err := b.numberOf(n.I)
		if err != nil {
			return x, err
		}
		return b.element(at, x, i)
	case *expr.Slice:
		return b.slice(n)
	case *expr.Cast:
		return b.castTo(n)
	}
	return operand{}, b.fail(at, "%v has no meaning", n)
}

// numberOf binds a part that has to be a number.
func (b *binder) numberOf(n expr.Node) (expr.Node, error) {
	x, err := b.node(n)
	if err != nil {
		return nil, err
	}
	return b.number(x)
}

// name binds a name: a variable of the function, a word of the language, or a variable of the program.
func (b *binder) name(n *expr.Name) (operand, error) {
	if n.Name == "ret" || n.Name == "retval" {
		return b.result(n.Pos(), 0)
	}
	switch {
	case n.Name == "comm":
		return operand{pos: n.Pos(), comm: true, name: n.Name}, nil
	case filter.IsWord(n.Name):
		return operand{pos: n.Pos(), word: n, name: n.Name}, nil
	}
	v, err := b.scope.Local(n.Name)
	if err != nil {
		return operand{}, b.fail(n.Pos(), "%w", err)
	}
	if v != nil {
		return b.variable(n.Pos(), v)
	}
	if x, ok, err := b.memberOfThis(n); ok || err != nil {
		return x, err
	}
	v, err = b.scope.Lookup(n.Name)
	if err != nil {
		return operand{}, b.fail(n.Pos(), "%w", err)
	}
	return b.variable(n.Pos(), v)
}

// memberOfThis finds a member of the object of which a C++ method was called.
func (b *binder) memberOfThis(n *expr.Name) (x operand, ok bool, err error) {
	v, err := b.scope.Local("this")
	if v == nil || err != nil {
		return x, false, nil
	}
	if v.Why != "" {
		return x, false, nil
	}
	this, err := b.variable(n.Pos(), v)
	if err != nil {
		return x, false, err
	}
	x, err = b.member(n.Pos(), this, n.Name)
	if errors.Is(err, errNoMember) {
		return x, false, nil
	}
	return x, true, err
}

// result is result number i of the function.
func (b *binder) result(pos, i int) (operand, error) {
	v, err := b.scope.Result(i)
	switch {
	case err == nil && v.Doubt != "" && !b.bare:
		return operand{}, b.fail(pos, "ret %w", noValue{v.Doubt})
	case err == nil:
	case i > 0:
		return operand{}, b.fail(pos, "%w", err)
	case b.scope.Tells():
		return operand{}, b.fail(pos, "ret %w", noValue{"the function has no result"})
	default: // as package filter has it
		return operand{pos: pos, word: &expr.Name{Name: "ret"}, name: "ret"}, nil
	}
	return b.variable(pos, v)
}

// memberNode binds a member; ret.1 is a Go function's second result, and a package's variable is written
// as a member, too.
func (b *binder) memberNode(n *expr.Member) (operand, error) {
	if of, ok := n.X.(*expr.Name); ok {
		i, err := strconv.Atoi(n.Name)
		if of.Name == "ret" && err == nil {
			return b.result(n.Pos(), i)
		}
		if x, ok, err := b.qualified(n, of); ok || err != nil {
			return x, err
		}
	}
	x, err := b.node(n.X)
	if err != nil {
		return x, err
	}
	return b.member(n.Pos(), x, n.Name)
}

// qualified binds PACKAGE.NAME, and args.NAME: a variable of the function that has the name of a word. A
// variable of the name in front hides both.
func (b *binder) qualified(n *expr.Member, of *expr.Name) (x operand, ok bool, err error) {
	if v, err := b.scope.Local(of.Name); v != nil || err != nil || filter.IsWord(of.Name) {
		return x, false, nil
	}
	if of.Name == "args" {
		v, err := b.scope.Local(n.Name)
		if v == nil || err != nil {
			return x, false, nil
		}
		x, err = b.variable(of.Pos(), v)
		return x, true, err
	}
	v, err := b.scope.Global(of.Name + "." + n.Name)
	if errors.Is(err, scope.ErrUnknown) {
		return x, false, nil
	}
	if err != nil {
		return x, false, err
	}
	x, err = b.variable(of.Pos(), v)
	return x, true, err
}

// unary binds an operator in front of a value.
func (b *binder) unary(n *expr.Unary) (operand, error) {
	x, err := b.node(n.X)
	if err != nil {
		return x, err
	}
	switch n.Op {
	case "*":
		return b.deref(n.Pos(), x)
	case "&":
		if x.addr == nil || x.bits != nil {
			return x, b.fail(n.Pos(), "%s has no address here: it is no place in memory", x.shown())
		}
		return operand{of: of{x.t, x.ptrs + 1}, pos: n.Pos(), word: x.addr, name: "&" + x.name}, nil
	}
	v, err := b.number(x)
	return operand{pos: n.Pos(), word: &expr.Unary{Op: n.Op, X: v}}, err
}

// binary binds an operator between two values.
func (b *binder) binary(n *expr.Binary) (operand, error) {
	x, err := b.node(n.X)
	if err != nil {
		return x, err
	}
	y, err := b.operandBeside(x, n.Y)
	if err != nil {
		return x, err
	}
	switch n.Op {
	case "==", "!=", "=~", "!~":
		if x.text != nil || y.text != nil {
			return b.compareText(n, x, y)
		}
	case "+", "-":
		if to, ok, err := b.pointee(x.of); ok || err != nil {
			return b.movePointer(n, x, y, to, err)
		}
	}
	p, err := b.number(x)
	if err != nil {
		return x, err
	}
	q, err := b.number(y)
	return operand{pos: n.Pos(), word: &expr.Binary{Op: n.Op, X: p, Y: q}}, err
}

// operandBeside binds the right side of an operator: a name that means nothing may be that of a constant
// of the left side's type.
func (b *binder) operandBeside(x operand, n expr.Node) (operand, error) {
	y, err := b.node(n)
	if !errors.Is(err, scope.ErrUnknown) {
		return y, err
	}
	name, ok := n.(*expr.Name)
	t, err2 := b.strip(x.of)
	if !ok || err2 != nil || t == nil || t.Kind != types.Enum {
		return y, err
	}
	list, err2 := t.Enumerators()
	if err2 != nil {
		return y, err2
	}
	for _, e := range list {
		if e.Name == name.Name || strings.HasSuffix(name.Name, "::"+e.Name) {
			return operand{pos: n.Pos(), word: num(e.Value)}, nil
		}
	}
	return y, err
}

// movePointer adds to a pointer, or subtracts two: in elements, as C does.
func (b *binder) movePointer(n *expr.Binary, x, y operand, to of, err error) (operand, error) {
	if err != nil {
		return x, err
	}
	p, err := b.number(x)
	if err != nil {
		return x, err
	}
	q, err := b.number(y)
	if err != nil {
		return y, err
	}
	each := size(to)
	if each <= 0 { // void *, as GNU C has it
		each = 1
	}
	if _, ok, _ := b.pointee(y.of); ok && n.Op == "-" {
		d := call("int64", &expr.Binary{Op: "-", X: p, Y: q})
		return operand{pos: n.Pos(), word: &expr.Binary{Op: "/", X: d, Y: num(each)}}, nil
	}
	return operand{of: x.of, pos: n.Pos(), word: &expr.Binary{Op: n.Op, X: p, Y: scaled(q, each)}, name: x.name}, nil
}

// scaled multiplies a number of elements by their size.
func scaled(n expr.Node, by int64) expr.Node {
	if c, ok := n.(*expr.Number); ok && c.Value < 1<<31 && by < 1<<31 {
		return num(int64(c.Value) * by)
	}
	if by == 1 {
		return n
	}
	return &expr.Binary{Op: "*", X: n, Y: num(by)}
}

// call binds a function of the language, or a conversion to a type of the program.
func (b *binder) call(n *expr.Call) (operand, error) {
	if n.Fun != "len" && !filter.IsFunction(n.Fun) {
		if len(n.Args) != 1 {
			return operand{}, b.fail(n.Pos(), "%q is no function of expressions", n.Fun)
		}
		return b.castTo(&expr.Cast{At: n.At, Type: n.Fun, X: n.Args[0]})
	}
	x, err := b.node(n.Args[0])
	if err != nil {
		return x, err
	}
	switch n.Fun {
	case "len":
		v, err := b.length(n.Pos(), x)
		return operand{pos: n.Pos(), word: v}, err
	case "str":
		return b.strOf(n, x)
	}
	v, err := b.number(x)
	return operand{pos: n.Pos(), word: call(n.Fun, v)}, err
}

// castTo binds a cast to a type of the program.
func (b *binder) castTo(n *expr.Cast) (operand, error) {
	x, err := b.node(n.X)
	if err != nil {
		return x, err
	}
	to := of{ptrs: n.Ptrs}
	if to.t, err = b.scope.TypeNamed(n.Type); err != nil {
		if basic, ok := basics[n.Type]; ok && n.Ptrs == 0 {
			v, err := b.number(x)
			return operand{pos: n.Pos(), word: cast(v, basic.size, basic.signed)}, err
		}
		return x, b.fail(n.Pos(), "%w", err)
	}
	is, signed, err := b.isNumber(to)
	if err != nil {
		return x, err
	}
	if !is {
		if from, ok := x.addr, x.bits == nil; ok && from != nil { // the same memory, read as another type
			return operand{of: to, pos: n.Pos(), addr: from, name: x.name}, nil
		}
		return x, b.fail(n.Pos(), "%s can't be made a %s", x.shown(), n.Type)
	}
	v, err := b.number(x)
	return operand{of: to, pos: n.Pos(), word: cast(v, size(to), signed), name: x.name}, err
}

// basic are C's types that a program may not name.
type basic struct {
	size   int64
	signed bool
}

var basics = map[string]basic{
	"char": {1, true}, "signed char": {1, true}, "unsigned char": {1, false}, "short": {2, true}, "unsigned short": {2, false},
	"int": {4, true}, "unsigned": {4, false}, "unsigned int": {4, false}, "long": {8, true}, "unsigned long": {8, false},
	"long long": {8, true}, "unsigned long long": {8, false}, "bool": {1, false},
}
