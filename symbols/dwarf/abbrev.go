package dwarf

import (
	sd "debug/dwarf"
	"fmt"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// abbrev says which attributes an entry has.
type abbrev struct {
	tag      sd.Tag
	children bool
	attrs    []raw.Attribute
}

// abbrevs is a table of abbreviations by their codes. Nearly all producers number them from 1.
type abbrevs struct {
	dense  []abbrev // of code i+1
	sparse map[uint64]*abbrev
}

// at returns the abbreviation of a code, nil if there is none.
func (a *abbrevs) at(code uint64) *abbrev {
	if code-1 < uint64(len(a.dense)) {
		return &a.dense[code-1]
	}
	return a.sparse[code]
}

// readAbbrevs reads the table at the start of data, which has n bytes.
func readAbbrevs(data []byte) (table *abbrevs, n int, err error) {
	b, t := &raw.Buf{B: data}, &abbrevs{}
	var codes []uint64
	var list []abbrev
	var ends []int // of each one's attributes
	var attrs []raw.Attribute
	for b.Err == nil {
		code := b.ULEB()
		if code == 0 {
			break
		}
		codes = append(codes, code)
		list = append(list, abbrev{tag: sd.Tag(b.ULEB()), children: b.U8() != 0})
		for b.Err == nil {
			at := raw.Attribute{Attr: sd.Attr(b.ULEB()), Form: raw.Form(b.ULEB())}
			if at.Form == raw.FormImplicitConst {
				at.Implicit = b.SLEB()
			}
			if at.Attr == 0 && at.Form == 0 {
				break
			}
			attrs = append(attrs, at)
		}
		ends = append(ends, len(attrs))
	}
	if b.Err != nil {
		return nil, len(data), fmt.Errorf("abbreviations: %w", b.Err)
	}
	start := 0
	for i, end := range ends {
		list[i].attrs, start = attrs[start:end:end], end
	}
	dense := 0 // numbered from 1, without a gap
	for dense < len(codes) && codes[dense] == uint64(dense)+1 {
		dense++
	}
	t.dense = list[:dense:dense]
	for i := dense; i < len(codes); i++ {
		if t.sparse == nil {
			t.sparse = map[uint64]*abbrev{}
		}
		t.sparse[codes[i]] = &list[i]
	}
	return t, b.Off, nil
}
