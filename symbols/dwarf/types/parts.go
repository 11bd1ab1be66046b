package types

import (
	sd "debug/dwarf"
	"fmt"

	"github.com/ptracer/ptracer/symbols/dwarf"
)

// Member is a member of a Struct or a Union.
type Member struct {
	Name string
	// Offset is where it begins in a value, in bytes. Of a member of which only an expression says
	// where it is (a virtual base), Expr is that, and Offset -1.
	Offset int64
	Expr   []byte
	// BitSize is the size of a bit field, 0 of other members. BitOffset is where it begins in a value:
	// the number of the lowest bit, from the first byte on.
	BitSize, BitOffset int64
	Base               bool // it is a base class
	Artificial         bool // the compiler has made it: a pointer to the virtual functions

	r     *Reader
	entry dwarf.Entry
}

// Type is the member's type.
func (m *Member) Type() (*Type, error) { return m.r.Of(m.entry) }

// Entry is the member's entry in the debug information.
func (m *Member) Entry() dwarf.Entry { return m.entry }

// Variants says which members a value of a Rust enum has beside those that all have.
type Variants struct {
	Tag      *Member // whose value says which variant it is; nil if there is but one
	Variants []Variant
}

// Variant is one of them.
type Variant struct {
	Values  []uint64 // of the tag
	Default bool     // it is the one of all other values
	Member  Member
}

// maxParts is how many members or enumerators a type may have.
const maxParts = 1 << 20

// Members returns the members of a Struct or a Union: base classes first, as they stand in the
// source. Static members are none of them.
func (t *Type) Members() (list []Member, err error) {
	err = t.entry.Children(func(e dwarf.Entry) bool {
		switch e.Tag() {
		case sd.TagMember, sd.TagInheritance:
			if !e.Flag(sd.AttrExternal) && !e.Flag(sd.AttrDeclaration) {
				list = append(list, t.member(e))
			}
		}
		return len(list) < maxParts
	})
	return list, err
}

// member reads a member's entry.
func (t *Type) member(e dwarf.Entry) Member {
	m := Member{Name: e.Text(sd.AttrName), r: t.r, entry: e, Base: e.Tag() == sd.TagInheritance, Artificial: e.Flag(sd.AttrArtificial)}
	if v, ok := e.Val(sd.AttrDataMemberLoc); ok {
		if n, number := v.Uint(); number {
			m.Offset = int64(n)
		} else if expr, ok := v.Block(); ok {
			m.Offset, m.Expr = offsetOf(expr)
		}
	}
	m.bits(t)
	return m
}

// plusUconst is DW_OP_plus_uconst, by which DWARF 2 says where members are.
const plusUconst = 0x23

// offsetOf is the offset that an expression adds, or -1 and the expression.
func offsetOf(expr []byte) (int64, []byte) {
	if len(expr) < 2 || expr[0] != plusUconst {
		return -1, expr
	}
	n, shift := int64(0), 0
	for i, c := range expr[1:] {
		n |= int64(c&0x7f) << min(shift, 63)
		shift += 7
		if c < 0x80 {
			if i+2 != len(expr) {
				break
			}
			return n, nil
		}
	}
	return -1, expr
}

// bits notes where a bit field is. Before DWARF 4 its offset was counted from the highest bit of the
// storage unit.
func (m *Member) bits(t *Type) {
	n, ok := m.entry.Uint(sd.AttrBitSize)
	if !ok {
		return
	}
	m.BitSize = int64(n)
	if at, ok := m.entry.Uint(sd.AttrDataBitOffset); ok {
		m.BitOffset = int64(at)
		m.Offset = m.BitOffset / 8
		return
	}
	at, _ := m.entry.Uint(sd.AttrBitOffset)
	size, ok := m.entry.Uint(sd.AttrByteSize)
	if !ok {
		if of, err := m.Type(); err == nil && of.Size > 0 {
			size = uint64(of.Size)
		}
	}
	m.BitOffset = 8*m.Offset + 8*int64(size) - int64(at) - m.BitSize
}

// Variants returns the variants of a Rust enum, nil if the type is none.
func (t *Type) Variants() (v *Variants, err error) {
	var inner error
	err = t.entry.Children(func(e dwarf.Entry) bool {
		if e.Tag() == tagVariantPart {
			v, inner = t.variantPart(e)
		}
		return v == nil && inner == nil
	})
	if inner != nil {
		err = inner
	}
	return v, err
}

// Tags and attributes of types with variants.
const (
	tagVariantPart sd.Tag  = 0x33
	tagVariant     sd.Tag  = 0x19
	attrDiscr      sd.Attr = 0x15
	attrDiscrValue sd.Attr = 0x16
)

// variantPart reads the variants of a type.
func (t *Type) variantPart(part dwarf.Entry) (*Variants, error) {
	v := &Variants{}
	if e, ok, err := part.Ref(attrDiscr); err != nil {
		return nil, err
	} else if ok {
		m := t.member(e)
		v.Tag = &m
	}
	var inner error
	err := part.Children(func(e dwarf.Entry) bool {
		if e.Tag() != tagVariant {
			return true
		}
		one := Variant{}
		if n, ok := e.Val(attrDiscrValue); ok {
			if value, ok := n.Uint(); ok {
				one.Values = []uint64{value}
			}
		} else {
			one.Default = true
		}
		inner = e.Children(func(m dwarf.Entry) bool {
			if m.Tag() == sd.TagMember {
				one.Member = t.member(m)
			}
			return true
		})
		v.Variants = append(v.Variants, one)
		return inner == nil && len(v.Variants) < maxParts
	})
	if inner != nil {
		err = inner
	}
	return v, err
}

// Enumerator is a name for a value of an Enum.
type Enumerator struct {
	Name  string
	Value int64 // of an unsigned type: its bits
}

// Enumerators returns the names of an Enum.
func (t *Type) Enumerators() (list []Enumerator, err error) {
	signed := true
	if of, err := t.Elem(); err == nil {
		if of, err = of.Strip(); err == nil && of.Kind != Void {
			signed = of.Kind == Int || of.Kind == Char
		}
	}
	err = t.entry.Children(func(e dwarf.Entry) bool {
		if e.Tag() == sd.TagEnumerator {
			v, _ := e.Val(sd.AttrConstValue)
			n, _ := v.Int()
			if u, ok := v.Uint(); ok && !signed {
				n = int64(u)
			}
			list = append(list, Enumerator{e.Text(sd.AttrName), n})
		}
		return len(list) < maxParts
	})
	return list, err
}

// Params returns the types of a Function's arguments, and reports whether more may follow ("...").
func (t *Type) Params() (list []*Type, more bool, err error) {
	var inner error
	err = t.entry.Children(func(e dwarf.Entry) bool {
		switch e.Tag() {
		case sd.TagFormalParameter:
			var of *Type
			of, inner = t.r.Of(e)
			list = append(list, of)
		case sd.TagUnspecifiedParameters:
			more = true
		}
		return inner == nil && len(list) < maxParts
	})
	if inner != nil {
		err = inner
	}
	return list, more, err
}

// array reads the bounds of an array. One of several dimensions is an array of arrays; here it is one
// of all the elements, and Dimensions says how many there are of each.
func (t *Type) array() error {
	t.Count = 1
	dims, err := t.Dimensions()
	if err != nil {
		return err
	}
	for _, n := range dims {
		if n < 0 || t.Count < 0 {
			t.Count = -1
			continue
		}
		if n > 0 && t.Count > 1<<62/n {
			return fmt.Errorf("%w: an array of %v elements", dwarf.ErrFormat, dims)
		}
		t.Count *= n
	}
	if n, ok := t.entry.Uint(sd.AttrStride); ok {
		t.Stride = int64((n + 7) / 8)
	} else if n, ok := t.entry.Uint(sd.AttrStrideSize); ok && n < 1<<48 {
		t.Stride = int64(n)
	}
	if t.Size >= 0 || t.Count < 0 {
		return nil
	}
	elem, err := t.Elem()
	if err != nil {
		return err
	}
	each := t.Stride
	if each == 0 {
		each = elem.Size
	}
	if each >= 0 && each < 1<<48 && t.Count <= 1<<62/max(each, 1) {
		t.Size = each * t.Count
	}
	return nil
}

// Dimensions are the numbers of elements of an array, the outermost first; -1 stands for one that is
// not known, or only while the program runs.
func (t *Type) Dimensions() (list []int64, err error) {
	err = t.entry.Children(func(e dwarf.Entry) bool {
		if e.Tag() != sd.TagSubrangeType && e.Tag() != sd.TagEnumerationType {
			return true
		}
		n := int64(-1)
		if count, ok := e.Uint(sd.AttrCount); ok && count < 1<<62 {
			n = int64(count)
		} else if v, ok := e.Val(sd.AttrUpperBound); ok {
			if upper, ok := v.Uint(); ok && upper < 1<<62 {
				low, _ := e.Uint(sd.AttrLowerBound)
				n = int64(upper) - int64(low) + 1
			} else if ok { // -1: none, as gcc writes it
				n = 0
			}
		}
		list = append(list, n)
		return len(list) < maxChain
	})
	return list, err
}

// Argument returns the type that a template or a generic type was made with, by the name of its
// parameter; nil if there is none.
func (t *Type) Argument(name string) (arg *Type, err error) {
	var inner error
	err = t.entry.Children(func(e dwarf.Entry) bool {
		if e.Tag() == sd.TagTemplateTypeParameter && e.Text(sd.AttrName) == name {
			arg, inner = t.r.Of(e)
		}
		return arg == nil && inner == nil
	})
	if inner != nil {
		err = inner
	}
	return arg, err
}
