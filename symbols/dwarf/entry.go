package dwarf

import (
	sd "debug/dwarf"
	"fmt"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// Entry is a debugging information entry. The zero Entry has no tag.
type Entry struct {
	u     *Unit
	table *abbrevs
	ab    *abbrev
	bytes []byte // the unit's
	start int    // of the entry, in bytes
	attrs int    // of its attributes
}

// Unit is the unit that the entry is of.
func (e Entry) Unit() *Unit { return e.u }

// Offset is where the entry begins in its section.
func (e Entry) Offset() uint64 { return e.u.off + uint64(e.start) }

// Tag says what the entry describes; 0 ends the children of an entry.
func (e Entry) Tag() sd.Tag {
	if e.ab == nil {
		return 0
	}
	return e.ab.tag
}

// HasChildren reports whether entries below this one may follow.
func (e Entry) HasChildren() bool { return e.ab != nil && e.ab.children }

// Val returns the value of an attribute.
func (e Entry) Val(attr sd.Attr) (Value, bool) {
	if e.ab == nil {
		return Value{}, false
	}
	b := raw.Buf{B: e.bytes, Off: e.attrs}
	for _, a := range e.ab.attrs {
		if a.Attr == attr {
			v := b.Read(e.u.format, a)
			return v, b.Err == nil
		}
		b.SkipSize(e.u.format, e.u.format.Size(a.Form))
	}
	return Value{}, false
}

// Has reports whether the entry has an attribute.
func (e Entry) Has(attr sd.Attr) bool {
	if e.ab != nil {
		for _, a := range e.ab.attrs {
			if a.Attr == attr {
				return true
			}
		}
	}
	return false
}

// Attrs calls yield for each attribute.
func (e Entry) Attrs(yield func(sd.Attr, Value) bool) {
	if e.ab == nil {
		return
	}
	b := raw.Buf{B: e.bytes, Off: e.attrs}
	for _, a := range e.ab.attrs {
		v := b.Read(e.u.format, a)
		if b.Err != nil || !yield(a.Attr, v) {
			return
		}
	}
}

// Text returns the value of an attribute that is a string, "" if there is none.
func (e Entry) Text(attr sd.Attr) string {
	v, ok := e.Val(attr)
	if !ok {
		return ""
	}
	s, _ := e.u.text(v)
	return s
}

// Uint returns the value of an attribute that is a number.
func (e Entry) Uint(attr sd.Attr) (uint64, bool) {
	v, ok := e.Val(attr)
	if !ok {
		return 0, false
	}
	return v.Uint()
}

// Flag reports whether an attribute that is a flag is set.
func (e Entry) Flag(attr sd.Attr) bool {
	n, _ := e.Uint(attr)
	return n != 0
}

// Addr returns the value of an attribute that is an address.
func (e Entry) Addr(attr sd.Attr) (uint64, bool) {
	v, ok := e.Val(attr)
	if !ok {
		return 0, false
	}
	a, err := e.u.addr(v)
	return a, err == nil
}

// Ref returns the entry that an attribute refers to; ok is false if there is no such attribute.
func (e Entry) Ref(attr sd.Attr) (to Entry, ok bool, err error) {
	v, ok := e.Val(attr)
	if !ok {
		return Entry{}, false, nil
	}
	to, err = e.u.ref(v)
	if err != nil {
		return Entry{}, true, fmt.Errorf("entry at %#x, %v: %w", e.Offset(), attr, err)
	}
	return to, true, nil
}

// ref returns the entry that a value refers to.
func (u *Unit) ref(v Value) (Entry, error) {
	switch v.Form {
	case raw.FormRef1, raw.FormRef2, raw.FormRef4, raw.FormRef8, raw.FormRefUdata:
		if v.Num >= u.end-u.off {
			return Entry{}, fmt.Errorf("%w: a reference to %#x, behind the unit's end", ErrFormat, v.Num)
		}
		return u.EntryAt(u.off + v.Num)
	case raw.FormRefAddr:
		return u.d.EntryAt(v.Num)
	case raw.FormRefSig8:
		return u.d.typeOf(v.Num)
	case raw.FormGNURefAlt, raw.FormRefSup4, raw.FormRefSup8:
		alt, err := u.d.alt()
		if err != nil {
			return Entry{}, err
		}
		return alt.EntryAt(v.Num)
	}
	return Entry{}, fmt.Errorf("%w: form %#x is no reference", ErrFormat, v.Form)
}

// EntryAt returns the entry at an offset of .debug_info.
func (d *Data) EntryAt(off uint64) (Entry, error) {
	u, err := d.unitAt(off, false)
	if err != nil {
		return Entry{}, err
	}
	return u.EntryAt(off)
}

// EntryAt returns the entry at an offset of the unit's section.
func (u *Unit) EntryAt(off uint64) (Entry, error) {
	c, err := u.cursor(off)
	if err != nil {
		return Entry{}, err
	}
	e, ok := c.next()
	if !ok || e.ab == nil {
		return Entry{}, fmt.Errorf("%w: no entry at %#x", ErrFormat, off)
	}
	return e, nil
}

// typeOf returns the type of the type unit with a signature.
func (d *Data) typeOf(sig uint64) (Entry, error) {
	all, err := d.units()
	if err != nil {
		return Entry{}, err
	}
	u := all.bySig[sig]
	if u == nil {
		if u, err = d.splitType(sig); err != nil {
			return Entry{}, err
		}
	}
	if u == nil {
		return Entry{}, fmt.Errorf("%w: no type unit has signature %#x", ErrFormat, sig)
	}
	if u.typeOff > u.end-u.off {
		return Entry{}, raw.ErrShort
	}
	return u.EntryAt(u.off + u.typeOff)
}

// cursor reads the entries of a unit in their order.
type cursor struct {
	raw.Buf
	u     *Unit
	table *abbrevs
}

// cursor returns one that begins at an offset of the section.
func (u *Unit) cursor(off uint64) (*cursor, error) {
	table, err := u.table()
	if err != nil {
		return nil, err
	}
	b, err := u.content()
	if err != nil {
		return nil, err
	}
	if off < u.data || off >= u.end {
		return nil, fmt.Errorf("%w: the unit at %#x has no offset %#x", ErrFormat, u.off, off)
	}
	return &cursor{u: u, table: table, Buf: raw.Buf{B: b, Off: int(off - u.off)}}, nil
}

// next reads the entry at the cursor; ok is false at the end of the unit, or of what can be read.
// The entry has no tag where the children of one end.
func (c *cursor) next() (e Entry, ok bool) {
	if c.Off >= len(c.B) || c.Err != nil {
		return e, false
	}
	e = Entry{u: c.u, table: c.table, bytes: c.B, start: c.Off}
	code := c.ULEB()
	if e.attrs = c.Off; code == 0 {
		return e, c.Err == nil
	}
	if e.ab = c.table.at(code); e.ab == nil {
		c.Fail(fmt.Errorf("%w: no abbreviation has number %d", ErrFormat, code))
		return e, false
	}
	for _, a := range e.ab.attrs {
		c.SkipSize(c.u.format, c.u.format.Size(a.Form))
	}
	return e, c.Err == nil
}

// pass moves the cursor, which is behind an entry, behind all entries below it.
func (c *cursor) pass(e Entry) {
	if !e.HasChildren() {
		return
	}
	if v, ok := e.Val(sd.AttrSibling); ok && v.Form != raw.FormRefAddr {
		if to := v.Num; to > uint64(c.Off) && to <= uint64(len(c.B)) {
			c.Off = int(to)
			return
		}
	}
	for depth := 1; depth > 0; {
		e, ok := c.next()
		switch {
		case !ok:
			return
		case e.ab == nil:
			depth--
		case e.ab.children:
			depth++
		}
	}
}

// Entries calls yield for each entry of the unit, in their order, until it returns false. Entries
// without a tag end the children of another one.
func (u *Unit) Entries(yield func(Entry) bool) error {
	c, err := u.cursor(u.data)
	if err != nil {
		return err
	}
	for {
		e, ok := c.next()
		if !ok || !yield(e) {
			return c.Err
		}
	}
}

// Children calls yield for each entry directly below e, and returns an error if they can't be
// read.
func (e Entry) Children(yield func(Entry) bool) error {
	if !e.HasChildren() {
		return nil
	}
	c := e.behind()
	for {
		child, ok := c.next()
		if !ok || child.ab == nil || !yield(child) {
			return c.Err
		}
		c.pass(child)
	}
}

// behind returns a cursor behind the attributes of e.
func (e Entry) behind() *cursor {
	c := &cursor{u: e.u, table: e.table, Buf: raw.Buf{B: e.bytes, Off: e.start}}
	c.next()
	return c
}

// maxChain is how many entries in a row may refer to another one for what they do not say.
const maxChain = 16

// origin returns the entry that says what e does not: of an inlined copy the function, of a
// definition the declaration.
func (e Entry) origin() (Entry, bool) {
	for _, attr := range []sd.Attr{sd.AttrAbstractOrigin, sd.AttrSpecification, sd.AttrExtension} {
		if to, ok, err := e.Ref(attr); ok && err == nil {
			return to, true
		}
	}
	return Entry{}, false
}

// With returns the first entry that has an attribute, of e and those that it refers to for what it
// does not say.
func (e Entry) With(attr sd.Attr) (Entry, bool) {
	for range maxChain {
		if e.Has(attr) {
			return e, true
		}
		to, ok := e.origin()
		if !ok {
			return Entry{}, false
		}
		e = to
	}
	return Entry{}, false
}

// Name is the entry's name, or that of what it refers to.
func (e Entry) Name() string {
	of, ok := e.With(sd.AttrName)
	if !ok {
		return ""
	}
	return of.Text(sd.AttrName)
}

// LinkageName is the name that the symbol table has, "" if that is none but Name.
func (e Entry) LinkageName() string {
	for _, attr := range []sd.Attr{sd.AttrLinkageName, attrMIPSLinkageName} {
		if of, ok := e.With(attr); ok {
			return of.Text(attr)
		}
	}
	return ""
}

// attrMIPSLinkageName is DW_AT_linkage_name before DWARF 4.
const attrMIPSLinkageName sd.Attr = 0x2007
