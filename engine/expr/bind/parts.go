package bind

import (
	"fmt"
	"strconv"

	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
)

// errNoMember is wrapped by errors that say a type has no member of a name.
var errNoMember = fmt.Errorf("no such member")

// member is a member of a structure, or of the one that a pointer leads to.
func (b *binder) member(pos int, x operand, name string) (operand, error) {
	for range 4 { // pointers and references in front of it
		to, ok, err := b.pointee(x.of)
		if err != nil {
			return x, err
		}
		if !ok {
			break
		}
		at, err := b.number(x)
		if err != nil {
			return x, err
		}
		x = operand{of: to, pos: x.pos, addr: at, name: x.name}
	}
	t, err := b.strip(x.of)
	if err != nil {
		return x, err
	}
	if t == nil || t.Kind != types.Struct && t.Kind != types.Union {
		return x, b.fail(pos, "%s has no members: %s", x.shown(), b.typeName(x.of))
	}
	if t.Incomplete {
		if t, err = b.complete(t); err != nil {
			return x, b.fail(pos, "%s: only a declaration of %s is there: %w", x.shown(), t.Name, err)
		}
	}
	m, off, err := find(t, name)
	if err != nil {
		return x, err
	}
	if m == nil {
		return x, b.fail(pos, "%s has %w: %s has %s", x.shown(), errNoMember, nameOf(t, 0), names(t))
	}
	return b.part(x, m, off)
}

// complete finds the type of which there is only a declaration.
func (b *binder) complete(t *types.Type) (*types.Type, error) {
	name := t.Entry().QualifiedName()
	of, err := b.scope.TypeNamed(name)
	if err != nil {
		return t, err
	}
	return of, nil
}

// part is a member of a structure, at an offset.
func (b *binder) part(x operand, m *types.Member, off int64) (operand, error) {
	t, err := m.Type()
	if err != nil {
		return x, err
	}
	p := operand{of: of{t: t}, pos: x.pos, name: x.name + "." + m.Name}
	if m.BitSize > 0 {
		whole := *m
		whole.BitOffset += 8 * (off - m.Offset)
		p.bits, p.addr, p.pieces = &whole, x.addr, x.pieces
		return p, nil
	}
	if x.addr != nil {
		p.addr = plus(x.addr, off)
	} else {
		if p.pieces = slice(x.pieces, off, t.Size); x.word != nil {
			p.pieces = slice([]piece{{size: 8, word: x.word}}, off, t.Size)
		}
	}
	return b.unreferenced(p)
}

// find finds a member by its name: also in base classes, in structures without a name, and in those that
// Go embeds.
func find(t *types.Type, name string) (found *types.Member, off int64, err error) {
	steps := 0
	return findIn(t, name, &steps)
}

// maxFind is how many structures are looked at for a member: types can be built that lie in each other.
const maxFind = 1000

func findIn(t *types.Type, name string, steps *int) (found *types.Member, off int64, err error) {
	if *steps++; *steps > maxFind {
		return nil, 0, nil
	}
	list, err := t.Members()
	if err != nil {
		return nil, 0, err
	}
	if v, err := t.Variants(); err == nil && v != nil {
		for i := range v.Variants {
			list = append(list, v.Variants[i].Member)
		}
	}
	for i := range list {
		if list[i].Name == name && list[i].Offset >= 0 {
			return &list[i], list[i].Offset, nil
		}
		if n, err := strconv.Atoi(name); err == nil && list[i].Name == "__"+strconv.Itoa(n) { // Rust's tuples
			return &list[i], list[i].Offset, nil
		}
	}
	for i := range list {
		m := &list[i]
		if m.Offset < 0 || !m.Base && m.Name != "" && !m.Entry().Flag(attrGoEmbedded) {
			continue
		}
		in, err := m.Type()
		if err == nil {
			in, err = in.Strip()
		}
		if err != nil {
			return nil, 0, err
		}
		if in.Kind != types.Struct && in.Kind != types.Union {
			continue
		}
		if found, off, err := findIn(in, name, steps); found != nil || err != nil {
			return found, off + m.Offset, err
		}
	}
	return nil, 0, nil
}

const attrGoEmbedded = 0x2903 // DW_AT_go_embedded_field

// names lists the members of a type, for an error.
func names(t *types.Type) string {
	list, err := t.Members()
	if err != nil || len(list) == 0 {
		return "none"
	}
	text := ""
	for i, m := range list {
		switch {
		case i == 20:
			return text + ", ..."
		case i > 0:
			text += ", "
		}
		if m.Name == "" {
			text += "one without a name"
		}
		text += m.Name
	}
	return text
}

// sequence is a value that has elements.
type sequence struct {
	at    expr.Node // address of the first; nil: it is the operand itself, an array
	count expr.Node // nil: nothing tells
	elem  of
}

// path is the member of a member.
func (b *binder) path(x operand, names ...string) (operand, bool) {
	for _, name := range names {
		t, err := b.strip(x.of)
		if err != nil || t == nil || t.Kind != types.Struct && t.Kind != types.Union {
			return x, false
		}
		m, off, err := find(t, name)
		if err != nil || m == nil {
			return x, false
		}
		if x, err = b.part(x, m, off); err != nil {
			return x, false
		}
	}
	return x, true
}

// form is how a library lays out a type with elements: by members, not by the type's name.
type form struct {
	data  []string // leads to the pointer to the first element
	count []string // leads to their number
	end   []string // or to the pointer behind the last one
}

// forms are those that are known.
var forms = []form{
	{data: []string{"str"}, count: []string{"len"}},                                                     // Go: string
	{data: []string{"array"}, count: []string{"len"}},                                                   // Go: slice
	{data: []string{"data_ptr"}, count: []string{"length"}},                                             // Rust: &str, &[T]
	{data: []string{"vec", "buf", "inner", "ptr", "pointer", "pointer"}, count: []string{"vec", "len"}}, // Rust: String
	{data: []string{"vec", "buf", "ptr", "pointer", "pointer"}, count: []string{"vec", "len"}},          // before 1.8x
	{data: []string{"buf", "inner", "ptr", "pointer", "pointer"}, count: []string{"len"}},               // Rust: Vec
	{data: []string{"buf", "ptr", "pointer", "pointer"}, count: []string{"len"}},                        // before 1.8x
	{data: []string{"_M_dataplus", "_M_p"}, count: []string{"_M_string_length"}},                        // libstdc++: string
	{data: []string{"_M_str"}, count: []string{"_M_len"}},                                               // libstdc++: string_view
	{data: []string{"_M_impl", "_M_start"}, end: []string{"_M_impl", "_M_finish"}},                      // libstdc++: vector
	{data: []string{"__data_"}, count: []string{"__size_"}},                                             // libc++: string_view
	{data: []string{"__begin_"}, end: []string{"__end_"}},                                               // libc++: vector
	{data: []string{"_M_ptr"}, count: []string{"_M_extent", "_M_extent_value"}},                         // libstdc++: span
}

// sequence finds the elements of an operand; ok is false if it has none.
func (b *binder) sequence(x operand) (s sequence, ok bool, err error) {
	t, err := b.strip(x.of)
	if err != nil || t == nil {
		return s, false, err
	}
	switch t.Kind {
	case types.Array:
		elem, err := t.Elem()
		if t.Count >= 0 {
			s.count = num(t.Count)
		}
		s.elem = of{t: elem}
		return s, true, err
	case types.Struct:
	default:
		return s, false, nil
	}
	for _, f := range forms {
		data, ok := b.path(x, f.data...)
		if !ok {
			data, ok = b.hider(x, f)
		}
		if !ok {
			continue
		}
		elem, ok := b.elementType(t, data)
		if !ok {
			continue
		}
		if s, ok, err = b.counted(x, data, elem, f); ok || err != nil {
			return s, ok, err
		}
	}
	return s, false, nil
}

// hider is the pointer of libstdc++'s string where clang tells only that there is a structure for it: the
// pointer is the structure's only member.
func (b *binder) hider(x operand, f form) (operand, bool) {
	if f.data[0] != "_M_dataplus" {
		return x, false
	}
	p, ok := b.path(x, f.data[0])
	if t, err := b.strip(p.of); !ok || err != nil || t == nil || !t.Incomplete {
		return x, false
	}
	char, ok := b.path(x, "_M_local_buf")
	if !ok {
		return x, false
	}
	elem, err := char.t.Elem()
	p.of = of{elem, 1}
	return p, err == nil
}

// elementType is the type that a sequence's pointer leads to. Rust's Vec has one to bytes: the type is
// an argument of its own.
func (b *binder) elementType(t *types.Type, data operand) (of, bool) {
	to, ok, err := b.pointee(data.of)
	if !ok || err != nil {
		return to, false
	}
	if m, _, err := find(t, "buf"); err != nil || m == nil {
		return to, true
	}
	elem, err := t.Argument("T")
	return of{t: elem}, err == nil && elem != nil
}

// counted is a sequence by its form.
func (b *binder) counted(x, data operand, elem of, f form) (s sequence, ok bool, err error) {
	s.elem = elem
	if s.at, err = b.number(data); err != nil {
		return s, false, err
	}
	if f.count != nil {
		n, ok := b.path(x, f.count...)
		if !ok {
			return s, false, nil
		}
		s.count, err = b.number(n)
		return s, err == nil, err
	}
	end, ok := b.path(x, f.end...)
	if !ok {
		return s, false, nil
	}
	last, err := b.number(end)
	if err != nil || size(elem) <= 0 {
		return s, false, err
	}
	s.count = &expr.Binary{Op: "-", X: last, Y: s.at}
	if n := size(elem); n > 1 {
		s.count = &expr.Binary{Op: "/", X: s.count, Y: num(n)}
	}
	return s, true, nil
}

// element is element i of an array, of a pointer's, or of a type with elements. One that is outside is
// at no address: reading it fails.
func (b *binder) element(pos int, x operand, i expr.Node) (operand, error) {
	if to, ok, err := b.pointee(x.of); ok || err != nil {
		if err != nil {
			return x, err
		}
		at, err := b.number(x)
		if err != nil {
			return x, err
		}
		if size(to) > 0 {
			return operand{of: to, pos: pos, addr: moved(at, i, size(to)), name: x.name + "[]"}, nil
		}
		return x, b.fail(pos, "%s has no elements: the size of what it points to is not known", x.shown())
	}
	s, ok, err := b.sequence(x)
	if err != nil {
		return x, err
	}
	each := size(s.elem)
	if !ok || each <= 0 {
		return x, b.fail(pos, "%s has no elements: %s", x.shown(), b.typeName(x.of))
	}
	e := operand{of: s.elem, pos: pos, name: x.name + "[]"}
	c, fixed := i.(*expr.Number)
	n, known := s.count.(*expr.Number)
	if fixed && known && c.Value >= n.Value {
		return x, b.fail(pos, "%s has %d elements, the first is number 0", x.shown(), n.Value)
	}
	switch {
	case s.at == nil && x.addr == nil: // an array in registers
		if !fixed {
			return x, b.fail(pos, "%s is in registers: the number of an element has to be a constant", x.shown())
		}
		e.pieces = slice(x.pieces, int64(c.Value)*each, each)
		return e, nil
	case s.at == nil:
		s.at = x.addr
	}
	e.addr = moved(s.at, i, each)
	if s.count != nil && !(fixed && known) {
		inside := &expr.Binary{Op: "<", X: cast(i, 8, false), Y: cast(s.count, 8, false)}
		e.addr = &expr.Binary{Op: "*", X: e.addr, Y: inside}
	}
	return e, nil
}

// moved is the address of element i.
func moved(at, i expr.Node, each int64) expr.Node {
	by := scaled(i, each)
	if c, ok := by.(*expr.Number); ok {
		return plus(at, int64(c.Value))
	}
	return &expr.Binary{Op: "+", X: at, Y: by}
}

// length is the number of elements of an operand.
func (b *binder) length(pos int, x operand) (expr.Node, error) {
	if x.str != nil && len(x.str.Args) == 2 {
		return x.str.Args[1], nil
	}
	if x.text != nil {
		return num(int64(len(x.text.Value))), nil
	}
	if s, ok, err := b.sequence(x); err != nil || ok && s.count != nil {
		return s.count, err
	}
	t, err := b.strip(x.of)
	if err != nil {
		return nil, err
	}
	if t != nil && t.Kind == types.Pointer { // Go's maps and channels are pointers
		to, _, err := b.pointee(x.of)
		if err != nil {
			return nil, err
		}
		at, err := b.number(x)
		if err != nil {
			return nil, err
		}
		for _, name := range []string{"used", "count", "qcount"} {
			if n, ok := b.path(operand{of: to, addr: at}, name); ok {
				return b.number(n)
			}
		}
	}
	return nil, b.fail(pos, "%s has no length: %s", x.shown(), b.typeName(x.of))
}

// slice binds a part of a sequence: of a string that is a string, too.
func (b *binder) slice(n *expr.Slice) (operand, error) {
	x, err := b.node(n.X)
	if err != nil {
		return x, err
	}
	s, ok, err := b.sequence(x)
	if err != nil {
		return x, err
	}
	if to, is, err2 := b.pointee(x.of); !ok && is && err2 == nil {
		s.elem = to
		if s.at, err = b.number(x); err != nil {
			return x, err
		}
		ok = true
	}
	if s.at == nil {
		s.at = x.addr
	}
	if !ok || s.at == nil || size(s.elem) != 1 {
		return x, b.fail(n.Pos(), "%s is no text: only that of a string can be cut", x.shown())
	}
	low := num(0)
	if n.Low != nil {
		if low, err = b.numberOf(n.Low); err != nil {
			return x, err
		}
	}
	high := s.count
	if n.High != nil {
		if high, err = b.numberOf(n.High); err != nil {
			return x, err
		}
	}
	if high == nil {
		return x, b.fail(n.Pos(), "nothing tells where %s ends: say it, as in %s[:8]", x.shown(), x.shown())
	}
	return operand{pos: n.Pos(), str: call("str", moved(s.at, low, 1), extent(low, high, s.count)), name: x.name}, nil
}

// extent is how many elements are between two numbers: 0 if they are not in order, or beyond the end.
func extent(low, high, count expr.Node) expr.Node {
	size := high
	if c, ok := low.(*expr.Number); !ok || c.Value != 0 {
		size = &expr.Binary{Op: "-", X: high, Y: low}
		size = &expr.Binary{Op: "*", X: size, Y: notAbove(low, high)}
	}
	if count != nil && high != count {
		size = &expr.Binary{Op: "*", X: size, Y: notAbove(high, count)}
	}
	return size
}

// notAbove is 1 if a number without a sign is not above another, else 0.
func notAbove(x, y expr.Node) expr.Node {
	return &expr.Binary{Op: "<=", X: cast(x, 8, false), Y: cast(y, 8, false)}
}
