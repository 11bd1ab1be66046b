package bind

import (
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/symbols/dwarf/op"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
	"github.com/ptracer/ptracer/symbols/scope"
)

// variable makes an operand of a variable. References are what they refer to.
func (b *binder) variable(pos int, v *scope.Variable) (operand, error) {
	if v.Why != "" {
		return operand{}, b.fail(pos, "%s %w", v.Name, noValue{v.Why})
	}
	x := operand{of: of{t: v.Type}, pos: pos, name: v.Name}
	if err := b.locate(&x, v.Pieces); err != nil {
		return x, err
	}
	if len(v.Name) > 1 && v.Name[0] == '&' { // Go: the variable is on the heap, this is its address
		return b.deref(pos, x)
	}
	return b.unreferenced(x)
}

// unreferenced follows C++ references.
func (b *binder) unreferenced(x operand) (operand, error) {
	t, err := b.strip(x.of)
	if err != nil || t == nil || t.Kind != types.Reference && t.Kind != types.RValue {
		return x, err
	}
	at, err := b.number(x)
	if err != nil {
		return x, err
	}
	elem, err := t.Elem()
	return operand{of: of{t: elem}, pos: x.pos, addr: at, name: x.name}, err
}

// locate says where an operand is, by the pieces of its value.
func (b *binder) locate(x *operand, pieces []op.Piece) error {
	if len(pieces) == 1 && pieces[0].Kind == op.Memory {
		addr, err := b.term(x.pos, pieces[0].Term)
		x.addr = addr
		return err
	}
	at := int64(0)
	for _, p := range pieces {
		size := p.Size
		if size == 0 {
			size = max(x.t.Size, 0) - at
		}
		one, err := b.piece(x.pos, p, at, size)
		if err != nil {
			return err
		}
		x.pieces = append(x.pieces, one...)
		at += size
	}
	return nil
}

// piece makes a piece of a value. Bytes become numbers of 8.
func (b *binder) piece(pos int, p op.Piece, at, size int64) ([]piece, error) {
	one := piece{at: at, size: size}
	var err error
	switch p.Kind {
	case op.Memory:
		one.addr, err = b.term(pos, p.Term)
	case op.Register:
		if name, ok := b.scope.Register(p.Term.N); ok && size <= 8 {
			one.word = &expr.Register{Name: name}
		}
	case op.Value:
		one.word, err = b.term(pos, p.Term)
		one.size = min(size, 8)
	case op.Bytes:
		var list []piece
		for i := int64(0); i < size && i < maxBytes; i += 8 {
			n := uint64(0)
			for j := range min(8, size-i) {
				if i+j < int64(len(p.Bytes)) {
					n |= uint64(p.Bytes[i+j]) << (8 * j)
				}
			}
			list = append(list, piece{at: at + i, size: min(8, size-i), word: &expr.Number{Value: n}})
		}
		return list, nil
	}
	return []piece{one}, err
}

// binaries are the operators of terms.
var binaries = map[op.Kind]string{
	op.Add: "+", op.Sub: "-", op.Mul: "*", op.Div: "/", op.Mod: "%", op.And: "&", op.Or: "|", op.Xor: "^", op.Shl: "<<",
	op.Shr: ">>", op.Shra: ">>", op.Eq: "==", op.Ne: "!=", op.Lt: "<", op.Le: "<=", op.Gt: ">", op.Ge: ">=",
}

// maxTerms is how large the expression of a place may be.
const maxTerms = 200

// term writes a term of debug information as an expression.
func (b *binder) term(pos int, t *op.Term) (expr.Node, error) {
	if t.Terms() > maxTerms {
		return nil, b.fail(pos, "its place is too long an expression")
	}
	switch t.Kind {
	case op.Const:
		return num(t.N), nil
	case op.Static: // the probe is in the same file: what lies between them is the same everywhere
		return plus(&expr.Name{Name: "ip"}, t.N-int64(b.scope.Addr())), nil
	case op.Reg:
		if name, ok := b.scope.Register(t.N); ok {
			return &expr.Register{Name: name}, nil
		}
		return nil, b.fail(pos, "it %w", noValue{"it depends on a register of floating point"})
	}
	x, err := b.term(pos, t.X)
	if err != nil {
		return nil, err
	}
	switch t.Kind {
	case op.Deref:
		return load(x, int64(t.Size)), nil
	case op.Cast:
		return cast(x, int64(t.Size), t.Signed), nil
	case op.Neg:
		return &expr.Unary{Op: "-", X: x}, nil
	case op.Not:
		return &expr.Unary{Op: "~", X: x}, nil
	}
	o, ok := binaries[t.Kind]
	if !ok {
		return nil, b.fail(pos, "it %w", noValue{fmt.Sprintf("its place is an expression of kind %d", t.Kind)})
	}
	if t.Kind == op.Add && t.Y.Kind == op.Const {
		return plus(x, t.Y.N), nil
	}
	y, err := b.term(pos, t.Y)
	if err != nil {
		return nil, err
	}
	switch t.Kind { // the types of the language are those of its operands
	case op.Shr, op.Mod:
		x = cast(x, 8, false)
	case op.Shra, op.Div, op.Lt, op.Le, op.Gt, op.Ge:
		x, y = cast(x, 8, true), cast(y, 8, true)
	}
	return &expr.Binary{Op: o, X: x, Y: y}, nil
}

// strip is the type of an operand without other names and qualifiers; nil: it has none, or is a pointer
// by its operators.
func (b *binder) strip(o of) (*types.Type, error) {
	if o.t == nil || o.ptrs > 0 {
		return nil, nil
	}
	return o.t.Strip()
}

// pointee is what a pointer or a reference points to; ok is false if the type is none.
func (b *binder) pointee(o of) (to of, ok bool, err error) {
	if o.ptrs > 0 {
		return of{o.t, o.ptrs - 1}, true, nil
	}
	t, err := b.strip(o)
	if err != nil || t == nil || t.Kind != types.Pointer && t.Kind != types.Reference && t.Kind != types.RValue {
		return to, false, err
	}
	elem, err := t.Elem()
	return of{t: elem}, true, err
}

// deref is what a pointer points to.
func (b *binder) deref(pos int, x operand) (operand, error) {
	to, ok, err := b.pointee(x.of)
	if err != nil {
		return x, err
	}
	if !ok {
		if t, _ := b.strip(x.of); t != nil && t.Kind == types.Array { // C's arrays are pointers to their first element
			return b.element(pos, x, num(0))
		}
		return x, b.fail(pos, "%s is no pointer: %s", x.shown(), b.typeName(x.of))
	}
	at, err := b.number(x)
	return operand{of: to, pos: pos, addr: at, name: "*" + x.name}, err
}

// shown names an operand in errors.
func (x *operand) shown() string {
	if x.name == "" {
		return "this"
	}
	return x.name
}

// typeName is how errors name a type.
func (b *binder) typeName(o of) string {
	if o.t == nil {
		return "it is a number"
	}
	name := nameOf(o.t, 0)
	for range o.ptrs {
		name += " *"
	}
	return "its type is " + name
}

// nameOf is a type's name as it is written in C.
func nameOf(t *types.Type, depth int) string {
	if t.Name != "" || depth > 8 {
		return t.Name
	}
	elem, err := t.Elem()
	if err != nil {
		return "?"
	}
	switch t.Kind {
	case types.Void:
		return "void"
	case types.Pointer:
		return nameOf(elem, depth+1) + " *"
	case types.Reference:
		return nameOf(elem, depth+1) + " &"
	case types.RValue:
		return nameOf(elem, depth+1) + " &&"
	case types.Const:
		return "const " + nameOf(elem, depth+1)
	case types.Volatile, types.Atomic, types.Restrict:
		return nameOf(elem, depth+1)
	case types.Array:
		return fmt.Sprintf("%s[%d]", nameOf(elem, depth+1), t.Count)
	case types.Function:
		return "a function"
	case types.Struct, types.Union, types.Enum:
		return "a type without a name"
	}
	return "?"
}

// size is the size of values of a type, -1 if it is not known.
func size(o of) int64 {
	switch {
	case o.ptrs > 0:
		return 8
	case o.t == nil:
		return 8
	}
	return o.t.Size
}

// isNumber reports whether values are numbers of up to 8 bytes, and whether they have a sign.
func (b *binder) isNumber(o of) (is, signed bool, err error) {
	if o.ptrs > 0 {
		return true, false, nil
	}
	t, err := b.strip(o)
	if err != nil || t == nil {
		return err == nil, true, err
	}
	return numeric(t)
}

// numeric is isNumber for a type.
func numeric(t *types.Type) (is, signed bool, err error) {
	if t.Size > 8 || t.Size != 1 && t.Size != 2 && t.Size != 4 && t.Size != 8 {
		return false, false, nil
	}
	switch t.Kind {
	case types.Int, types.Char:
		return true, !t.Unicode, nil
	case types.Uint, types.UChar, types.Bool, types.Pointer, types.Reference, types.RValue, types.Address, types.Null, types.MemberPointer:
		return true, false, nil
	case types.Enum:
		elem, err := t.Elem()
		if err == nil {
			elem, err = elem.Strip()
		}
		return true, err == nil && (elem.Kind == types.Int || elem.Kind == types.Char), err
	}
	return false, false, nil
}

// number is the value of an operand that is a number.
func (b *binder) number(x operand) (expr.Node, error) {
	switch {
	case x.text != nil || x.str != nil || x.comm:
		return nil, b.fail(x.pos, "a string is no number: compare it with another, as \"text\"")
	case x.of.t == nil && x.ptrs == 0:
		return x.word, nil
	}
	is, signed, err := b.isNumber(x.of)
	if err != nil {
		return nil, err
	}
	if !is {
		return nil, b.noNumber(x)
	}
	return b.bytes(x, size(x.of), signed)
}

// noNumber is the error of an operand that is no number.
func (b *binder) noNumber(x operand) error {
	t, err := b.strip(x.of)
	if err != nil {
		return err
	}
	switch t.Kind {
	case types.Float, types.Complex:
		return b.fail(x.pos, "%s is a floating point number, with which handlers do not reckon: a field can show it", x.shown())
	case types.Struct, types.Union, types.Array:
		return b.fail(x.pos, "%s is no number, %s: name a part of it", x.shown(), b.typeName(x.of))
	}
	return b.fail(x.pos, "%s is no number: %s", x.shown(), b.typeName(x.of))
}

// bytes is an operand of a few bytes as a number.
func (b *binder) bytes(x operand, size int64, signed bool) (expr.Node, error) {
	switch {
	case x.bits != nil:
		return b.bitField(x, signed)
	case x.word != nil:
		if size == 8 && !signed {
			return cast(x.word, 8, false), nil
		}
		return cast(x.word, size, signed), nil
	case x.addr != nil:
		if signed {
			return cast(load(x.addr, size), size, true), nil
		}
		return load(x.addr, size), nil
	}
	for _, p := range x.pieces {
		if p.at > 0 || p.size < size {
			continue
		}
		if p.addr != nil {
			return b.bytes(operand{addr: p.addr}, size, signed)
		}
		if p.word != nil {
			return cast(p.word, size, signed), nil
		}
	}
	switch {
	case len(x.pieces) == 0 || x.pieces[0].word == nil && x.pieces[0].addr == nil:
		return nil, b.fail(x.pos, "%s %w", x.shown(), noValue{"optimised out, or in a register of floating point"})
	}
	return nil, b.fail(x.pos, "%s %w", x.shown(), noValue{"it is in several registers"})
}

// bitField is the value of a bit field.
func (b *binder) bitField(x operand, signed bool) (expr.Node, error) {
	m := x.bits
	unit := int64(1) // bytes that are read
	first := m.BitOffset / 8
	for unit < 8 && (first/unit*unit+unit)*8 < m.BitOffset+m.BitSize {
		unit *= 2
	}
	first = first / unit * unit
	shift := m.BitOffset - 8*first
	if shift+m.BitSize > 8*unit {
		return nil, b.fail(x.pos, "%s %w", x.shown(), noValue{"it lies in more than 8 bytes"})
	}
	whole := operand{addr: plus0(x.addr, first), pieces: slice(x.pieces, first, unit), pos: x.pos, name: x.name}
	n, err := b.bytes(whole, unit, false)
	if err != nil {
		return nil, err
	}
	n = &expr.Binary{Op: "<<", X: cast(n, 8, signed), Y: num(64 - shift - m.BitSize)}
	return &expr.Binary{Op: ">>", X: n, Y: num(64 - m.BitSize)}, nil
}

// plus0 adds to an address, if there is one.
func plus0(n expr.Node, off int64) expr.Node {
	if n == nil {
		return nil
	}
	return plus(n, off)
}

// slice is a part of pieces.
func slice(list []piece, at, size int64) (part []piece) {
	for _, p := range list {
		low, high := max(p.at, at), min(p.at+p.size, at+size)
		if low >= high {
			continue
		}
		one := piece{at: low - at, size: high - low, word: p.word, addr: plus0(p.addr, low-p.at)}
		if shift := low - p.at; shift > 0 && p.word != nil {
			one.word = &expr.Binary{Op: ">>", X: cast(p.word, 8, false), Y: num(8 * shift)}
		}
		part = append(part, one)
	}
	return slices.Clip(part)
}
