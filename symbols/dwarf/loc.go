package dwarf

import (
	sd "debug/dwarf"
	"fmt"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// Located is the expression that says where something is, or what it is, at a range of addresses.
type Located struct {
	Range
	Expr []byte
}

// everywhere is the range of an expression that is no part of a list.
var everywhere = Range{0, ^uint64(0)}

// maxLocations is how many entries a list of locations may have.
const maxLocations = 1 << 18

// Locations returns the expressions of an attribute such as DW_AT_location, none if the entry
// does not have it. One that stands alone is right everywhere. An expression without bytes says
// that there is nothing left of the thing.
func (e Entry) Locations(attr sd.Attr) ([]Located, error) {
	v, ok := e.Val(attr)
	if !ok {
		return nil, nil
	}
	if expr, ok := v.Block(); ok {
		return []Located{{everywhere, expr}}, nil
	}
	list, err := e.u.locations(v)
	if err != nil {
		return nil, fmt.Errorf("entry at %#x, %v: %w", e.Offset(), attr, err)
	}
	return list, nil
}

// locations returns the list that a value refers to.
func (u *Unit) locations(v Value) (list []Located, err error) {
	h, err := u.head()
	if err != nil {
		return nil, err
	}
	_, of, err := u.addressed(h)
	if err != nil {
		return nil, err
	}
	id := secLocLists
	if u.format.Version < 5 {
		id = secLoc
	}
	s, err := u.section(id)
	if err != nil {
		return nil, err
	}
	off := v.Num
	if v.Form == raw.FormLoclistx {
		i, err := s.Word(h.locLists, v.Num, u.format.Offset)
		if err != nil {
			return nil, err
		}
		off = h.locLists + i
	}
	err = s.Growing(off, 512, func(data []byte) error {
		list = list[:0]
		r := lister{u: u, h: h, base: of.low, Buf: raw.Buf{B: data}}
		for len(list) < maxLocations {
			l, more, err := r.next()
			switch {
			case r.Err != nil:
				return r.Err
			case err != nil:
				return err
			case !more:
				return u.d.spend(uint64(r.Off), s)
			case l.Low < l.High:
				list = append(list, l)
			}
		}
		return fmt.Errorf("%w: more than %d locations", ErrFormat, maxLocations)
	})
	return list, err
}

// lister reads a list of locations.
type lister struct {
	raw.Buf
	u    *Unit
	h    *head
	base uint64
}

// next reads one entry; more is false at the end. An entry that only sets the base has no range.
func (r *lister) next() (l Located, more bool, err error) {
	switch {
	case r.u.format.Version >= 5:
		return r.next5()
	case r.u.d.dwo:
		return r.nextSplit()
	}
	size := r.u.format.Addr
	low, high := r.Uint(size), r.Uint(size)
	switch {
	case low == 0 && high == 0:
		return l, false, nil
	case low == ^uint64(0)>>(64-8*size):
		r.base = high
		return l, true, nil
	}
	l = Located{Range{r.base + low, r.base + high}, r.Bytes(uint64(r.U16()))}
	return l, true, nil
}

// Kinds of entries in lists of locations that lists of ranges have not, or number otherwise.
const (
	locDefault     = 5 // DW_LLE_default_location
	locBase        = 6
	locStartEnd    = 7
	locStartLength = 8
)

// next5 reads an entry of .debug_loclists.
func (r *lister) next5() (l Located, more bool, err error) {
	kind := r.U8()
	switch kind {
	case listEnd:
		return l, false, nil
	case locDefault:
		l.Range = everywhere
	case locBase, locStartEnd, locStartLength:
		l.Range, r.base, err = r.u.listed(r.h, &r.Buf, kind-1, r.base)
	default:
		if kind > locStartLength {
			return l, false, fmt.Errorf("%w: a location of kind %d", ErrFormat, kind)
		}
		l.Range, r.base, err = r.u.listed(r.h, &r.Buf, kind, r.base)
	}
	if kind != locBase && kind != listBasex {
		l.Expr = r.Bytes(r.ULEB())
	}
	return l, true, err
}

// nextSplit reads an entry of GNU's .debug_loc.dwo: kinds as in DWARF 5, and lengths of fixed size.
func (r *lister) nextSplit() (l Located, more bool, err error) {
	switch kind := r.U8(); kind {
	case listEnd:
		return l, false, nil
	case listBasex:
		r.base, err = r.u.addrAt(r.h, r.ULEB())
		return l, true, err
	case listStartxEndx:
		if l.Low, err = r.u.addrAt(r.h, r.ULEB()); err == nil {
			l.High, err = r.u.addrAt(r.h, r.ULEB())
		}
	case listStartxLength:
		l.Low, err = r.u.addrAt(r.h, r.ULEB())
		l.High = l.Low + uint64(r.U32())
	case listOffsetPair:
		l.Low, l.High = r.base+uint64(r.U32()), r.base+uint64(r.U32())
	default:
		return l, false, fmt.Errorf("%w: a location of kind %d", ErrFormat, kind)
	}
	l.Expr = r.Bytes(uint64(r.U16()))
	return l, true, err
}
