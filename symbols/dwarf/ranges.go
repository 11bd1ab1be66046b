package dwarf

import (
	sd "debug/dwarf"
	"fmt"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// Range is a range of addresses: from Low to the one before High.
type Range struct{ Low, High uint64 }

// Contains reports whether an address lies in the range.
func (r Range) Contains(a uint64) bool { return a >= r.Low && a < r.High }

// maxRanges is how many ranges an entry may have.
const maxRanges = 1 << 20

// Ranges returns the addresses that an entry is about: those of a unit, a function, a block, or an
// inlined call.
func (e Entry) Ranges() ([]Range, error) {
	if v, ok := e.Val(sd.AttrRanges); ok {
		return e.u.ranges(v)
	}
	low, ok := e.Addr(sd.AttrLowpc)
	if !ok {
		return nil, nil
	}
	v, ok := e.Val(sd.AttrHighpc)
	if !ok {
		return nil, nil // a unit whose ranges are not told
	}
	high := v.Num
	if n, number := v.Uint(); number {
		high = low + n
	} else if a, err := e.u.addr(v); err == nil {
		high = a
	}
	if high <= low {
		return nil, nil
	}
	return []Range{{low, high}}, nil
}

// ranges returns the list that DW_AT_ranges refers to.
func (u *Unit) ranges(v Value) ([]Range, error) {
	h, err := u.head()
	if err != nil {
		return nil, err
	}
	if u.format.Version >= 5 {
		s, err := u.section(secRngLists)
		if err != nil {
			return nil, err
		}
		off := v.Num
		if v.Form == raw.FormRnglistx {
			i, err := s.Word(h.rngLists, v.Num, u.format.Offset)
			if err != nil {
				return nil, err
			}
			off = h.rngLists + i
		}
		return u.rangeList(h, s, off)
	}
	// GNU's split units have their ranges in the file of the skeleton.
	off := v.Num
	if u.skeleton != nil {
		if u, h, err = u.addressed(h); err != nil {
			return nil, err
		}
		off += h.gnuRanges
	}
	s, err := u.d.section(secRanges)
	if err != nil {
		return nil, err
	}
	return u.oldRanges(h, s, off)
}

// oldRanges reads a list of .debug_ranges: pairs of addresses.
func (u *Unit) oldRanges(h *head, s *raw.Section, off uint64) (list []Range, err error) {
	err = s.Growing(off, 256, func(data []byte) error {
		list = list[:0]
		base, b := h.low, &raw.Buf{B: data}
		for len(list) < maxRanges {
			low, high := b.Uint(u.format.Addr), b.Uint(u.format.Addr)
			switch {
			case b.Err != nil:
				return b.Err
			case low == 0 && high == 0:
				return u.d.spend(uint64(b.Off), s)
			case low == ^uint64(0)>>(64-8*u.format.Addr):
				base = high
			case low < high:
				list = append(list, Range{base + low, base + high})
			}
		}
		return fmt.Errorf("%w: more than %d ranges", ErrFormat, maxRanges)
	})
	return list, err
}

// Kinds of entries in lists of ranges (DW_RLE_) and of locations (DW_LLE_), which share the first.
const (
	listEnd = iota
	listBasex
	listStartxEndx
	listStartxLength
	listOffsetPair
	rangeBase     // DW_RLE_base_address
	rangeStartEnd // DW_RLE_start_end
	rangeStartLength
)

// rangeList reads a list of .debug_rnglists.
func (u *Unit) rangeList(h *head, s *raw.Section, off uint64) (list []Range, err error) {
	_, of, err := u.addressed(h)
	if err != nil {
		return nil, err
	}
	err = s.Growing(off, 256, func(data []byte) error {
		list = list[:0]
		base, b := of.low, &raw.Buf{B: data}
		for len(list) < maxRanges {
			kind := b.U8()
			if b.Err == nil && kind == listEnd {
				return u.d.spend(uint64(b.Off), s)
			}
			r, to, err := u.listed(h, b, kind, base)
			switch {
			case b.Err != nil:
				return b.Err
			case err != nil:
				return err
			}
			if base = to; r.Low < r.High {
				list = append(list, r)
			}
		}
		return fmt.Errorf("%w: more than %d ranges", ErrFormat, maxRanges)
	})
	return list, err
}

// listed reads one entry of a list of ranges, and returns the base for the next ones.
func (u *Unit) listed(h *head, b *raw.Buf, kind uint8, base uint64) (r Range, to uint64, err error) {
	index := func() uint64 {
		a, e := u.addrAt(h, b.ULEB())
		if err == nil {
			err = e
		}
		return a
	}
	switch to = base; kind {
	case listBasex:
		to = index()
	case listStartxEndx:
		r.Low = index()
		r.High = index()
	case listStartxLength:
		r.Low = index()
		r.High = r.Low + b.ULEB()
	case listOffsetPair:
		r.Low = base + b.ULEB()
		r.High = base + b.ULEB()
	case rangeBase:
		to = b.Uint(u.format.Addr)
	case rangeStartEnd:
		r.Low = b.Uint(u.format.Addr)
		r.High = b.Uint(u.format.Addr)
	case rangeStartLength:
		r.Low = b.Uint(u.format.Addr)
		r.High = r.Low + b.ULEB()
	default:
		err = fmt.Errorf("%w: a range of kind %d", ErrFormat, kind)
	}
	return r, to, err
}
