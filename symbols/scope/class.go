package scope

import (
	sd "debug/dwarf"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
)

// class says how a value is passed.
type class struct {
	parts       []part // in registers
	memory      bool   // on the stack
	x87         bool   // on the stack; a result of the kind is in a register of the x87
	pointer     bool   // its address is passed instead
	even        bool   // its first register has an even number (arm64)
	nothing     bool   // it takes no place
	unknown     bool   // how it is passed depends on what debug information does not tell
	size, align int64
}

// part is what goes into one register.
type part struct {
	at, size int64
	float    bool
}

// classes classifies a type.
func (p *passing) classes(t *types.Type) (class, error) {
	t, err := t.Strip()
	if err != nil {
		return class{}, err
	}
	c := class{size: t.Size, align: 1, nothing: t.Size == 0}
	if t.Size < 0 {
		return c, fmt.Errorf("the size of %s is not known", t.Name)
	}
	if n, ok := t.Entry().Uint(sd.AttrCalling); ok && n == byReference {
		c.pointer, c.size = true, 8
		return c, nil
	}
	l := scalars{}
	if err := l.add(t, 0, 0); err != nil || c.nothing {
		return c, err
	}
	c.unknown = l.unknown
	for _, one := range l.list {
		c.align = max(c.align, min(one.size, 16))
	}
	switch {
	case p.rust:
		return c, p.rustClass(&c, t, &l)
	case p.golang:
		c.align = min(c.align, 8)
		c.parts, c.memory = l.list, l.many || l.array
	case p.amd64:
		p.sysV(&c, &l)
	default:
		p.aapcs(&c, &l)
	}
	return c, nil
}

const byReference = 4 // DW_CC_pass_by_reference

// sysV classifies by the System V ABI for amd64: by eight bytes. A class of C++ without members takes no place.
func (p *passing) sysV(c *class, l *scalars) {
	c.nothing = len(l.list) == 0 && !l.many
	c.x87 = !l.packed && !l.many && len(l.list) > 0 && len(l.list) <= 2 && !slices.ContainsFunc(l.list, func(l part) bool { return !l.float || l.size <= 8 })
	if c.size > 16 || l.many || l.packed || c.x87 {
		c.memory = true
		return
	}
	for at := int64(0); at < c.size; at += 8 {
		one := part{at: at, size: min(8, c.size-at), float: true}
		for _, l := range l.list {
			if l.at < at+8 && l.at+l.size > at && !l.float {
				one.float = false
			}
		}
		c.parts = append(c.parts, one)
	}
}

// aapcs classifies by the procedure call standard of arm64.
func (p *passing) aapcs(c *class, l *scalars) {
	same := len(l.list) > 0 && len(l.list) <= 4
	for _, one := range l.list {
		same = same && one.float && one.size == l.list[0].size
	}
	switch {
	case same: // of one to four floats, each in a register of its own
		c.parts = l.list
	case c.size > 16 || l.many:
		c.pointer = true
	default:
		for at := int64(0); at < c.size; at += 8 {
			c.parts = append(c.parts, part{at: at, size: min(8, c.size-at)})
		}
		c.even = c.align == 16
	}
}

// rustClass classifies as Rust's compiler does for its own functions: one or two scalars in registers,
// values of more than two words by their address. Between these, versions differ.
func (p *passing) rustClass(c *class, t *types.Type, l *scalars) error {
	list, err := p.rustParts(t, l.list)
	switch {
	case len(list) == 1 || len(list) == 2 && list[1].at >= list[0].at+list[0].size:
		c.parts = list
	case t.Size > 16:
		c.pointer = true
	default:
		c.unknown = true
	}
	return err
}

// rustParts are the scalars of a Rust value; none if it has variants that are not alike.
func (p *passing) rustParts(t *types.Type, list []part) ([]part, error) {
	v, err := t.Variants()
	if v == nil || err != nil || t.Size > 16 {
		return list, err
	}
	var tag, data []part
	if v.Tag != nil {
		of, err := v.Tag.Type()
		if err != nil {
			return nil, err
		}
		if tag, err = scalarsOf(of, v.Tag.Offset); err != nil {
			return nil, err
		}
	}
	for i := range v.Variants {
		m := &v.Variants[i].Member
		if m.Entry().Tag() == 0 {
			continue
		}
		of, err := m.Type()
		if err != nil {
			return nil, err
		}
		own, err := scalarsOf(of, m.Offset)
		switch {
		case err != nil:
			return nil, err
		case len(own) == 0:
		case data != nil && !slices.Equal(data, own):
			return nil, nil
		default:
			data = own
		}
	}
	if len(tag) == 1 && len(data) > 0 && data[0].at < tag[0].at+tag[0].size && tag[0].at < data[len(data)-1].at+data[len(data)-1].size {
		return data, nil // the tag is a niche of the data
	}
	if len(data) > 0 && len(tag) > 0 && data[0].at < tag[0].at {
		return append(data, tag...), nil
	}
	return append(tag, data...), nil
}

// scalars are the scalars of a type, by their offsets.
type scalars struct {
	list    []part
	steps   int
	many    bool // there are more, or where some are is not known
	packed  bool // one is not aligned
	array   bool // there is an array of more than one element, which Go passes on the stack
	unknown bool // how the type is passed depends on what is not told here: a vector, an alignment of its own
}

// Limits of a type that is looked at: types of structures can be built that have more parts than atoms.
const (
	maxScalars = 64
	maxSteps   = 1000
)

// scalarsOf lists the scalars of a type at an offset.
func scalarsOf(t *types.Type, at int64) ([]part, error) {
	l := scalars{}
	err := l.add(t, at, 0)
	if l.many || l.unknown {
		return nil, err
	}
	return l.list, err
}

// Attributes that change how a type is passed.
const (
	attrAlignment = 0x88   // DW_AT_alignment
	attrVector    = 0x2107 // DW_AT_GNU_vector
)

// add adds a type at an offset.
func (l *scalars) add(t *types.Type, at int64, depth int) error {
	t, err := t.Strip()
	if l.steps++; err != nil || l.many {
		return err
	}
	if l.steps > maxSteps || depth > maxDepth || len(l.list) > maxScalars {
		l.many = true
		return nil
	}
	switch t.Kind {
	case types.Struct, types.Union:
		l.ownAlignment(t.Entry())
		return l.members(t, at, depth)
	case types.Array:
		l.ownAlignment(t.Entry())
		l.unknown = l.unknown || t.Entry().Flag(attrVector)
		return l.elements(t, at, depth)
	case types.Complex:
		l.list = append(l.list, part{at, t.Size / 2, true}, part{at + t.Size/2, t.Size / 2, true})
		return nil
	}
	if t.Size > 0 {
		l.packed = l.packed || at%min(t.Size, 16) != 0
		l.list = append(l.list, part{at, t.Size, t.Kind == types.Float})
	}
	return nil
}

// ownAlignment notes that the source gives something an alignment of more than a word.
func (l *scalars) ownAlignment(e dwarf.Entry) {
	n, ok := e.Uint(attrAlignment)
	l.unknown = l.unknown || ok && n > 8
}

// members adds the members of a structure.
func (l *scalars) members(t *types.Type, at int64, depth int) error {
	list, err := t.Members()
	if err != nil {
		return err
	}
	if v, err := t.Variants(); err != nil {
		return err
	} else if v != nil { // two that overlap: see rustParts
		l.list = append(l.list, part{at, min(8, t.Size), false}, part{at, t.Size, false})
		return nil
	}
	for _, m := range list {
		of, err := m.Type()
		if err != nil {
			return err
		}
		switch {
		case m.Offset < 0:
			l.many = true
		case m.BitSize > 0:
			first := m.BitOffset / 8
			l.list = append(l.list, part{at + first, (m.BitOffset+m.BitSize+7)/8 - first, false})
			continue
		}
		l.ownAlignment(m.Entry())
		if err := l.add(of, at+m.Offset, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// elements adds the elements of an array.
func (l *scalars) elements(t *types.Type, at int64, depth int) error {
	elem, err := t.Elem()
	if err != nil {
		return err
	}
	l.array = l.array || t.Count > 1
	if t.Count < 0 || elem.Size < 0 {
		l.many = true
	}
	for i := int64(0); i < t.Count && elem.Size > 0 && !l.many; i++ {
		if err := l.add(elem, at+i*elem.Size, depth+1); err != nil {
			return err
		}
	}
	return nil
}
