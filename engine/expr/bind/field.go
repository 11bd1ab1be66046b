package bind

import (
	"cmp"

	"github.com/ptracer/ptracer/engine/value"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
)

// field makes what reads a value and shows it.
func (b *binder) field(x operand) (value.Field, error) {
	switch {
	case x.comm:
		return value.Field{Parts: []value.Part{{Expr: "comm"}}}, nil
	case x.text != nil:
		return value.Field{}, b.fail(x.pos, "a string that is the same everywhere says nothing")
	case x.of.t == nil && x.ptrs == 0 && x.str == nil:
		return value.Field{Parts: []value.Part{{Expr: x.word.String(), Size: 8}}}, nil
	}
	text, room, ok, err := b.textOf(x)
	if err != nil {
		return value.Field{}, err
	}
	if ok && !b.isBytes(x) {
		if room == 0 {
			room = b.Options.text()
		}
		return value.Field{Parts: []value.Part{{Expr: text.String(), Size: min(room, b.Options.text())}}, Type: &value.Type{Kind: value.String}}, nil
	}
	d := describer{most: b.Options.bytes()}
	if s, ok, err := b.sequence(x); err != nil || ok && s.at != nil && size(s.elem) > 0 {
		if err != nil {
			return value.Field{}, err
		}
		return b.sliceField(&d, s)
	}
	t, err := d.describe(x.of, 0)
	if err != nil {
		return value.Field{}, err
	}
	if t.IsNumber() {
		return b.numberField(x, t)
	}
	return b.wholeField(x, t)
}

// isBytes reports whether an operand is C's pointer to bytes, or an array of them, that are no
// characters.
func (b *binder) isBytes(x operand) bool {
	to, is, err := b.pointee(x.of)
	if !is && err == nil {
		var t *types.Type
		if t, err = b.strip(x.of); err != nil || t == nil || t.Kind != types.Array {
			return false
		}
		elem, err2 := t.Elem()
		to, err = of{t: elem}, err2
	}
	if err != nil {
		return false
	}
	t, err := b.strip(to)
	return err == nil && t != nil && (t.Kind == types.Uint || t.Kind == types.UChar && t.Name != plainChar)
}

// plainChar is the name of C's type of characters, which on arm64 has no sign.
const plainChar = "char"

func (o *Options) text() int64 { return int64(cmp.Or(o.MaxText, maxText)) }

func (o *Options) bytes() int64 { return int64(cmp.Or(o.MaxBytes, maxBytes)) }

// sliceBytes is how many bytes of a slice's elements are read.
const sliceBytes = 64

// sliceField is a field with a slice or a vector: how long it is, and its first elements.
func (b *binder) sliceField(d *describer, s sequence) (value.Field, error) {
	elem, err := d.describe(s.elem, 1)
	if err != nil {
		return value.Field{}, err
	}
	each := size(s.elem)
	most := max(sliceBytes/each, 1) * each
	data := call("str", s.at, scaled(s.count, each))
	return value.Field{
		Parts: []value.Part{{Expr: cast(s.count, 8, false).String(), Size: 8}, {Expr: data.String(), Size: most}},
		Type:  &value.Type{Kind: value.Slice, Size: 8 + most, Elem: elem},
	}, nil
}

// numberField is a field with a number.
func (b *binder) numberField(x operand, t *value.Type) (value.Field, error) {
	n, err := b.bytes(x, t.Size, t.HasSign())
	if err != nil {
		return value.Field{}, err
	}
	return value.Field{Parts: []value.Part{{Expr: n.String(), Size: t.Size}}, Type: t}, nil
}

// wholeField is a field with a structure or an array, as far as there is room for it.
func (b *binder) wholeField(x operand, t *value.Type) (value.Field, error) {
	n := min(t.Size, b.Options.bytes())
	if n <= 0 {
		return value.Field{}, b.fail(x.pos, "%s %w", x.shown(), noValue{"its type has no bytes"})
	}
	if x.addr != nil {
		return value.Field{Parts: []value.Part{{Expr: call("str", x.addr, num(n)).String(), Size: n}}, Type: t}, nil
	}
	if x.word != nil {
		return value.Field{Parts: []value.Part{{Expr: x.word.String(), Size: min(n, 8)}}, Type: t}, nil
	}
	f := value.Field{Type: t}
	at, gone := int64(0), true
	for _, p := range slice(x.pieces, 0, n) {
		if p.at > at {
			f.Parts = append(f.Parts, value.Part{Size: p.at - at, Gone: true})
		}
		at = p.at + p.size
		switch {
		case p.word != nil:
			f.Parts = append(f.Parts, value.Part{Expr: p.word.String(), Size: p.size})
		case p.addr != nil:
			f.Parts = append(f.Parts, value.Part{Expr: call("str", p.addr, num(p.size)).String(), Size: p.size})
		default:
			f.Parts = append(f.Parts, value.Part{Size: p.size, Gone: true})
			markGone(t, p.at, p.size)
			continue
		}
		gone = false
	}
	if gone {
		return f, b.fail(x.pos, "%s %w", x.shown(), noValue{"optimised out, or in registers of floating point"})
	}
	return f, nil
}

// markGone notes of which members nothing is left.
func markGone(t *value.Type, at, size int64) {
	for i := range t.Members {
		if m := &t.Members[i]; m.Offset < at+size && m.Offset+m.Type.Size > at {
			m.Gone = true
		}
	}
}

// describer makes types of values that can be sent to others.
type describer struct {
	most  int64 // bytes of a value
	parts int
}

const (
	maxParts = 500 // of a type
	maxDeep  = 8
)

// describe describes a type.
func (d *describer) describe(o of, depth int) (*value.Type, error) {
	if o.ptrs > 0 {
		return &value.Type{Kind: value.Pointer, Size: 8}, nil
	}
	t, err := o.t.Strip()
	if err != nil {
		return nil, err
	}
	v := &value.Type{Name: o.t.Name, Size: max(t.Size, 0)}
	d.parts++
	if d.parts > maxParts || depth > maxDeep {
		return v, nil
	}
	switch t.Kind {
	case types.Struct, types.Union:
		return v, d.structure(v, t, depth)
	case types.Array:
		return v, d.array(v, t, depth)
	case types.Enum:
		return v, enumeration(v, t)
	}
	v.Kind = kinds[t.Kind]
	if t.Kind == types.Char && t.Unicode {
		v.Kind = value.Rune
	}
	if v.Kind == value.Float && t.Size > 8 {
		v.Kind = value.Opaque
	}
	return v, nil
}

// kinds are the kinds of values by those of their types.
var kinds = map[types.Kind]value.Kind{
	types.Bool: value.Bool, types.Int: value.Int, types.Uint: value.Uint, types.Char: value.Char, types.UChar: value.UChar,
	types.Float: value.Float, types.Address: value.Pointer, types.Pointer: value.Pointer, types.Reference: value.Pointer,
	types.RValue: value.Pointer, types.Null: value.Pointer, types.MemberPointer: value.Pointer,
}

// structure describes a structure's members.
func (d *describer) structure(v *value.Type, t *types.Type, depth int) error {
	v.Kind = value.Struct
	if t.Kind == types.Union {
		v.Kind = value.Union
	}
	if variants, err := t.Variants(); err != nil {
		return err
	} else if variants != nil {
		return d.variants(v, variants, depth)
	}
	list, err := t.Members()
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.Artificial || m.Offset < 0 || m.Offset >= d.most {
			continue
		}
		of1, err := m.Type()
		if err != nil {
			return err
		}
		in, err := d.describe(of{t: of1}, depth+1)
		if err != nil {
			return err
		}
		if m.Base && len(in.Members) == 0 {
			continue
		}
		v.Members = append(v.Members, value.Member{Name: m.Name, Type: in, Offset: m.Offset, BitSize: m.BitSize, BitOffset: m.BitOffset})
	}
	return nil
}

// variants describes the forms of a Rust enum.
func (d *describer) variants(v *value.Type, list *types.Variants, depth int) error {
	if m := list.Tag; m != nil {
		t, err := m.Type()
		if err != nil {
			return err
		}
		in, err := d.describe(of{t: t}, depth+1)
		if err != nil {
			return err
		}
		v.Tag = &value.Member{Name: m.Name, Type: in, Offset: m.Offset}
	}
	for _, one := range list.Variants {
		if one.Member.Entry().Tag() == 0 {
			continue
		}
		t, err := one.Member.Type()
		if err != nil {
			return err
		}
		in, err := d.describe(of{t: t}, depth+1)
		if err != nil {
			return err
		}
		v.Variants = append(v.Variants, value.Variant{Name: one.Member.Name, Type: in, Values: one.Values, Default: one.Default})
	}
	return nil
}

// array describes an array, as far as there is room for it.
func (d *describer) array(v *value.Type, t *types.Type, depth int) error {
	elem, err := t.Elem()
	if err != nil {
		return err
	}
	v.Kind = value.Array
	if v.Elem, err = d.describe(of{t: elem}, depth+1); err != nil {
		return err
	}
	if v.Elem.Kind == value.UChar && v.Elem.Name != plainChar { // bytes, as a rule
		v.Elem.Kind = value.Uint
	}
	v.Count = max(t.Count, 0)
	switch n := v.Elem.Size; {
	case n <= 0:
		v.Count = 0
	case v.Count > d.most/n:
		v.More = v.Count - d.most/n
		v.Count -= v.More
	}
	return nil
}

// enumeration describes an enumeration.
func enumeration(v *value.Type, t *types.Type) error {
	_, signed, err := numeric(t)
	if err != nil {
		return err
	}
	v.Kind, v.Signed = value.Enum, signed
	list, err := t.Enumerators()
	for i, e := range list {
		if i == maxParts {
			break
		}
		v.Names = append(v.Names, value.Name{Name: e.Name, Value: e.Value})
	}
	return err
}
