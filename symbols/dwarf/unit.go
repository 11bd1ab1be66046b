package dwarf

import (
	sd "debug/dwarf"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ptracer/ptracer/symbols/dwarf/line"
	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// kind says what a unit is (DW_UT_).
type kind uint8

const (
	kindCompile kind = iota + 1
	kindType
	kindPartial
	kindSkeleton
	kindSplit
	kindSplitType
)

// Unit is one unit: what a compiler has made of one source file, or a part of that.
type Unit struct {
	d         *Data
	sec       *raw.Section
	types     bool // it is of .debug_types
	kind      kind
	off, end  uint64 // of the whole; offsets of the section
	data      uint64 // of the first entry
	abbrevs   uint64
	sig       uint64 // of a type unit, or the id that a skeleton and its split unit share
	typeOff   uint64 // of a type unit: offset of the type from off
	format    raw.Format
	bytes     atomic.Pointer[[]byte] // from off to end
	head      func() (*head, error)
	functions func() ([]code, error)

	skeleton *Unit    // of a split unit: where its addresses are
	contrib  *contrib // of a split unit in a package: which parts of the sections are its own
}

// head is what the first entry of a unit says about all of them.
type head struct {
	strOffsets uint64
	addr       uint64
	rngLists   uint64
	locLists   uint64
	gnuRanges  uint64
	low, high  uint64 // its code, if that is in one piece; ranges are relative to low
	ranges     Value  // its code, if it is in several pieces
	split      bool   // it is
}

// readUnit reads the header at off.
func readUnit(d *Data, s *raw.Section, types bool, off uint64) (*Unit, error) {
	first, err := s.From(off, 48)
	if err != nil {
		return nil, err
	}
	b := &raw.Buf{B: first}
	u := &Unit{d: d, sec: s, types: types, off: off, format: raw.Format{Offset: 4}, kind: kindCompile}
	n, wide := b.Length()
	if wide {
		u.format.Offset = 8
	}
	start := off + uint64(b.Off)
	if b.Err == nil && n > s.Size-start {
		return nil, raw.ErrShort
	}
	u.end = start + n
	u.format.Version = int(b.U16())
	switch v := u.format.Version; {
	case b.Err != nil:
	case v == 5:
		u.kind = kind(b.U8())
		u.format.Addr = int(b.U8())
		u.abbrevs = b.Uint(u.format.Offset)
	case v >= 2 && v <= 4:
		u.abbrevs = b.Uint(u.format.Offset)
		u.format.Addr = int(b.U8())
		if types {
			u.kind = kindType
		}
	default:
		return nil, fmt.Errorf("%w: version %d", ErrFormat, v)
	}
	switch u.kind {
	case kindSkeleton, kindSplit:
		u.sig = b.U64()
	case kindType, kindSplitType:
		u.sig = b.U64()
		u.typeOff = b.Uint(u.format.Offset)
	case kindCompile, kindPartial:
	default:
		return nil, fmt.Errorf("%w: a unit of kind %d", ErrFormat, u.kind)
	}
	u.data = off + uint64(b.Off)
	switch {
	case b.Err != nil:
		return nil, b.Err
	case u.format.Addr != 8 && u.format.Addr != 4:
		return nil, fmt.Errorf("%w: addresses of %d bytes", ErrFormat, u.format.Addr)
	case u.data > u.end:
		return nil, raw.ErrShort
	}
	u.head = sync.OnceValues(u.readHead)
	u.functions = sync.OnceValues(u.readFunctions)
	return u, nil
}

// content returns the unit's bytes, from its header on.
func (u *Unit) content() ([]byte, error) {
	if b := u.bytes.Load(); b != nil {
		return *b, nil
	}
	if u.sec.Mem != nil {
		return u.sec.At(u.off, u.end-u.off)
	}
	if err := u.d.spend(u.end-u.off, u.sec); err != nil {
		return nil, err
	}
	b, err := u.sec.At(u.off, u.end-u.off)
	if err != nil {
		return nil, err
	}
	if u.bytes.CompareAndSwap(nil, &b) {
		u.d.keep(u, uint64(len(b)))
	}
	return b, nil
}

// section returns a section as far as it is the unit's: that of its file, or a part of that.
func (u *Unit) section(id sectionID) (*raw.Section, error) {
	s, err := u.d.section(id)
	if err == nil && u.contrib != nil && u.contrib.set[id] {
		return s.Part(u.contrib.off[id], u.contrib.size[id])
	}
	return s, err
}

// table returns the unit's table of abbreviations.
func (u *Unit) table() (*abbrevs, error) {
	s, err := u.section(secAbbrev)
	if err != nil {
		return nil, err
	}
	return u.d.abbrevsAt(s, u.abbrevs)
}

// readHead reads the first entry, and what it says about the unit. It does not read the others.
func (u *Unit) readHead() (*head, error) {
	table, err := u.table()
	if err != nil {
		return nil, err
	}
	h := &head{}
	if u.data == u.end {
		return nil, fmt.Errorf("%w: a unit without an entry", ErrFormat)
	}
	s, err := u.sec.Part(u.data, u.end-u.data)
	if err != nil {
		return nil, err
	}
	err = s.Growing(0, 256, func(b []byte) error {
		c := cursor{u: u, table: table, Buf: raw.Buf{B: b}}
		e, ok := c.next()
		switch {
		case c.Err != nil:
			return c.Err
		case !ok || e.Tag() == 0:
			return fmt.Errorf("%w: a unit without an entry", ErrFormat)
		}
		h.bases(u, e)
		if v, ok := e.Val(sd.AttrLowpc); ok {
			h.low, _ = u.addrIn(h, v)
		}
		h.ranges, h.split = e.Val(sd.AttrRanges)
		if v, ok := e.Val(sd.AttrHighpc); ok && !h.split {
			h.high = v.Num
			if n, number := v.Uint(); number {
				h.high = h.low + n
			}
		}
		return nil
	})
	return h, err
}

// bases notes where the unit's indexed values begin. Split units do not say: theirs are the first,
// behind the header, and their addresses are the skeleton's.
func (h *head) bases(u *Unit, root Entry) {
	base := func(attr sd.Attr, otherwise uint64) uint64 {
		if v, ok := root.Val(attr); ok {
			return v.Num
		}
		return otherwise
	}
	// What a table in a split file begins with.
	header := uint64(8)
	if u.format.Offset == 8 {
		header = 16
	}
	lists := header + 4
	if u.format.Version < 5 {
		header, lists = 0, 0
	}
	if u.kind != kindSplit && u.kind != kindSplitType && !u.d.dwo {
		header, lists = 0, 0
	}
	h.strOffsets = base(sd.AttrStrOffsetsBase, header)
	h.rngLists = base(sd.AttrRnglistsBase, lists)
	h.locLists = base(sd.AttrLoclistsBase, lists)
	h.addr = base(sd.AttrAddrBase, base(attrGNUAddrBase, 0))
	h.gnuRanges = base(attrGNURangesBase, 0)
}

// addressed returns the unit and its head that have a unit's addresses: of a split unit the
// skeleton.
func (u *Unit) addressed(h *head) (*Unit, *head, error) {
	if u.skeleton == nil {
		return u, h, nil
	}
	of, err := u.skeleton.head()
	return u.skeleton, of, err
}

// Attributes of GNU's extensions (DWARF 4 with split units), and of dwz.
const (
	attrGNUDWOName    sd.Attr = 0x2130
	attrGNUDWOID      sd.Attr = 0x2131
	attrGNURangesBase sd.Attr = 0x2132
	attrGNUAddrBase   sd.Attr = 0x2133
)

// Root returns the unit's first entry: of a compilation, DW_TAG_compile_unit.
func (u *Unit) Root() (Entry, error) {
	e, err := u.EntryAt(u.data)
	if err != nil {
		return Entry{}, fmt.Errorf("unit at %#x: %w", u.off, err)
	}
	return e, nil
}

// AddressSize is how many bytes an address has.
func (u *Unit) AddressSize() int { return u.format.Addr }

// Dir is the directory in which the unit was compiled, "" if it does not say.
func (u *Unit) Dir() string {
	e, err := u.Root()
	if err != nil {
		return ""
	}
	if dir := e.Text(sd.AttrCompDir); dir != "" || u.skeleton == nil {
		return dir
	}
	return u.skeleton.Dir()
}

// Ranges are the addresses of the unit's code, as its first entry tells.
func (u *Unit) Ranges() ([]Range, error) {
	h, err := u.head()
	switch {
	case err != nil:
		return nil, err
	case h.split:
		return u.ranges(h.ranges)
	case h.low < h.high:
		return []Range{{h.low, h.high}}, nil
	}
	return nil, nil
}

// Offset is where the unit begins in its section.
func (u *Unit) Offset() uint64 { return u.off }

// text returns the string that a value stands for.
func (u *Unit) text(v Value) (string, error) {
	switch v.Form {
	case raw.FormString:
		return string(v.Raw), nil
	case raw.FormStrp:
		return u.textAt(secStr, v.Num)
	case raw.FormLineStrp:
		return u.textAt(secLineStr, v.Num)
	case raw.FormStrx, raw.FormStrx1, raw.FormStrx2, raw.FormStrx3, raw.FormStrx4, raw.FormGNUStrIndex:
		off, err := u.strOffset(v.Num)
		if err != nil {
			return "", err
		}
		return u.textAt(secStr, off)
	case raw.FormGNUStrpAlt, raw.FormStrpSup:
		alt, err := u.d.alt()
		if err != nil {
			return "", err
		}
		s, err := alt.section(secStr)
		if err != nil {
			return "", err
		}
		return s.Text(v.Num)
	}
	return "", fmt.Errorf("%w: form %#x is no string", ErrFormat, v.Form)
}

func (u *Unit) textAt(id sectionID, off uint64) (string, error) {
	s, err := u.d.section(id)
	if err != nil {
		return "", err
	}
	return s.Text(off)
}

// strOffset is where string number i lies in .debug_str.
func (u *Unit) strOffset(i uint64) (uint64, error) {
	h, err := u.head()
	if err != nil {
		return 0, err
	}
	s, err := u.section(secStrOffsets)
	if err != nil {
		return 0, err
	}
	return s.Word(h.strOffsets, i, u.format.Offset)
}

// addr returns the address that a value stands for.
func (u *Unit) addr(v Value) (uint64, error) {
	if v.Form == raw.FormAddr {
		return v.Num, nil
	}
	h, err := u.head()
	if err != nil {
		return 0, err
	}
	return u.addrIn(h, v)
}

func (u *Unit) addrIn(h *head, v Value) (uint64, error) {
	switch v.Form {
	case raw.FormAddr:
		return v.Num, nil
	case raw.FormAddrx, raw.FormAddrx1, raw.FormAddrx2, raw.FormAddrx3, raw.FormAddrx4, raw.FormGNUAddrIndex:
		return u.addrAt(h, v.Num)
	}
	return 0, fmt.Errorf("%w: form %#x is no address", ErrFormat, v.Form)
}

// AddrAt returns address number i of the unit's table.
func (u *Unit) AddrAt(i uint64) (uint64, error) {
	h, err := u.head()
	if err != nil {
		return 0, err
	}
	return u.addrAt(h, i)
}

// addrAt returns address number i of the unit's.
func (u *Unit) addrAt(h *head, i uint64) (uint64, error) {
	u, h, err := u.addressed(h)
	if err != nil {
		return 0, err
	}
	s, err := u.d.section(secAddr)
	if err != nil {
		return 0, err
	}
	return s.Word(h.addr, i, u.format.Addr)
}

// Lines returns the unit's line table, nil if it has none. That of a split unit has only files, if
// its file has one; else it is that of the skeleton.
func (u *Unit) Lines() (*line.Table, error) {
	e, err := u.Root()
	if err != nil {
		return nil, err
	}
	s, err := u.section(secLine)
	if err != nil {
		return nil, err
	}
	v, ok := e.Val(sd.AttrStmtList)
	switch {
	case ok:
	case u.skeleton != nil && s.Size == 0:
		return u.skeleton.Lines()
	case u.skeleton == nil:
		return nil, nil
	}
	t, _, err := line.Read(s, v.Num, u.format.Addr, u.d.lineText)
	return t, err
}

// LineTables calls yield for each line table of the file, or with the error why that could not be read,
// until it returns false. It reads no units: a table before DWARF 5 does not say in which directory its
// unit was compiled.
func (d *Data) LineTables(yield func(*line.Table, error) bool) error {
	s, err := d.section(secLine)
	if err != nil {
		return err
	}
	for off := uint64(0); off < s.Size; {
		t, next, err := line.Read(s, off, 8, d.lineText)
		if next <= off {
			return err
		}
		if !yield(t, err) {
			return nil
		}
		off = next
	}
	return nil
}

// lineText is the string that a value of a line table stands for. Tables have no indexed strings.
func (d *Data) lineText(v Value) (string, error) {
	id := secStr
	switch v.Form {
	case raw.FormLineStrp:
		id = secLineStr
	case raw.FormStrp:
	default:
		return "", fmt.Errorf("%w: a name of form %#x", ErrFormat, v.Form)
	}
	s, err := d.section(id)
	if err != nil {
		return "", err
	}
	return s.Text(v.Num)
}
