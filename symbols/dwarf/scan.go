package dwarf

import (
	"bytes"
	sd "debug/dwarf"
	"fmt"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// A scanner goes through the entries of units for their names, and for nothing else: it jumps over
// what functions and types are made of, and takes no memory for an entry.

// step is what the scanner does at an attribute, or at several in a row that it passes.
type step struct {
	what stepKind
	form raw.Form
	size int // what is passed: so many bytes, or one of the constants of sizes
}

type stepKind uint8

const (
	stepPass stepKind = iota
	stepName
	stepSibling
	stepOrigin
	stepDeclaration
	stepLanguage
)

// plan is what the scanner does with the entries of an abbreviation.
type plan struct {
	known    bool
	tag      sd.Tag
	children bool
	value    bool // it has a constant: also a declaration has all that there is
	steps    []step
}

// plans are those of a table of abbreviations, for units of one format.
type plans struct {
	table  *abbrevs
	format raw.Format
	dense  []plan
	sparse map[uint64]*plan
}

func plansOf(t *abbrevs, f raw.Format) *plans {
	p := &plans{table: t, format: f, dense: make([]plan, len(t.dense)), sparse: map[uint64]*plan{}}
	for i := range t.dense {
		p.dense[i] = planOf(&t.dense[i], f)
	}
	for code, a := range t.sparse {
		one := planOf(a, f)
		p.sparse[code] = &one
	}
	return p
}

func (p *plans) at(code uint64) *plan {
	if code-1 < uint64(len(p.dense)) {
		return &p.dense[code-1]
	}
	return p.sparse[code]
}

// planOf makes the steps for an abbreviation.
func planOf(a *abbrev, f raw.Format) plan {
	p := plan{known: true, tag: a.tag, children: a.children}
	for _, at := range a.attrs {
		s := step{form: at.Form, size: f.Size(at.Form)}
		switch at.Attr {
		case sd.AttrName:
			s.what = stepName
		case sd.AttrSibling:
			s.what = stepSibling
		case sd.AttrSpecification, sd.AttrAbstractOrigin:
			s.what = stepOrigin
		case sd.AttrDeclaration:
			s.what = stepDeclaration
		case sd.AttrLanguage:
			s.what = stepLanguage
		case sd.AttrConstValue:
			p.value = true
		}
		if n := len(p.steps); s.what == stepPass && s.size >= 0 && n > 0 && p.steps[n-1].what == stepPass && p.steps[n-1].size >= 0 {
			p.steps[n-1].size += s.size
			continue
		}
		if s.what != stepPass || s.size != 0 {
			p.steps = append(p.steps, s)
		}
	}
	return p
}

// found is what the scanner has read of an entry.
type found struct {
	name     []byte
	sibling  int
	origin   int   // the entry that has the name; 0: none, or far
	far      Value // the same in another unit
	language uint64
	declared bool
}

// scanner scans one unit after the other.
type scanner struct {
	d    *Data
	str  []byte // .debug_str
	room []byte // for the bytes of units

	raw.Buf
	u    *Unit
	p    *plans
	c    bool // the unit is of C: types have no names inside
	out  []uint64
	left int // how deep entries may lie in each other
}

// maxDepth is how deep entries are looked at that lie in each other.
const maxDepth = 64

// unit scans a unit.
func (s *scanner) unit(u *Unit) error {
	table, err := u.table()
	if err != nil {
		return err
	}
	size := u.end - u.off
	if u.sec.Mem != nil {
		s.B = u.sec.Mem[u.off:u.end]
	} else {
		if size > elffile.MaxPart {
			return fmt.Errorf("unit at %#x: %d bytes: %w", u.off, size, elffile.ErrBudget)
		}
		if uint64(cap(s.room)) < size {
			s.room = make([]byte, size+size/4)
		}
		s.B = s.room[:size]
		if err := u.sec.Fill(s.B, u.off); err != nil {
			return err
		}
	}
	if s.p == nil || s.p.table != table || s.p.format != u.format {
		s.p = plansOf(table, u.format)
	}
	s.u, s.Off, s.Err, s.left = u, int(u.data-u.off), nil, maxDepth
	p := s.next()
	if p == nil || !p.children {
		return s.Err
	}
	var f found
	s.read(p, &f)
	s.c = isC(f.language)
	s.children(false)
	if s.Err != nil {
		return fmt.Errorf("unit at %#x: %w", u.off, s.Err)
	}
	return nil
}

// isC reports whether a language is C (DW_LANG_C89, C, C99, C11, C17, and assembly).
func isC(language uint64) bool {
	switch language {
	case 0x01, 0x02, 0x0c, 0x1d, 0x2c, 0x8001:
		return true
	}
	return false
}

// next reads the code of an entry, and returns what is done with it; nil at the end of children.
func (s *scanner) next() *plan {
	code := s.ULEB()
	if code == 0 {
		return nil
	}
	p := s.p.at(code)
	if p == nil {
		s.Fail(fmt.Errorf("%w: no abbreviation has number %d", ErrFormat, code))
	}
	return p
}

// read reads the attributes of an entry.
func (s *scanner) read(p *plan, f *found) {
	*f = found{}
	for i := range p.steps {
		st := &p.steps[i]
		switch {
		case st.what == stepPass && st.size >= 0:
			s.Skip(uint64(st.size))
		case st.what == stepPass || st.form == raw.FormIndirect:
			s.SkipSize(s.u.format, st.size)
		default:
			s.note(st, f)
		}
	}
}

// note reads an attribute that says something.
func (s *scanner) note(st *step, f *found) {
	v := s.Buf.Read(s.u.format, raw.Attribute{Form: st.form, Implicit: 1})
	switch st.what {
	case stepName:
		f.name = s.name(v)
	case stepSibling:
		if v.Form != raw.FormRefAddr && v.Num > uint64(s.Off) && v.Num <= uint64(len(s.B)) {
			f.sibling = int(v.Num)
		}
	case stepOrigin:
		switch v.Form {
		case raw.FormRef1, raw.FormRef2, raw.FormRef4, raw.FormRef8, raw.FormRefUdata:
			f.origin = int(min(v.Num, uint64(len(s.B))))
		default:
			f.far = v
		}
	case stepDeclaration:
		f.declared = v.Num != 0
	case stepLanguage:
		f.language = v.Num
	}
}

// name returns the bytes of a name.
func (s *scanner) name(v Value) []byte {
	off := v.Num
	switch v.Form {
	case raw.FormString:
		return v.Raw
	case raw.FormStrp:
	case raw.FormStrx, raw.FormStrx1, raw.FormStrx2, raw.FormStrx3, raw.FormStrx4, raw.FormGNUStrIndex:
		var err error
		if off, err = s.u.strOffset(v.Num); err != nil {
			s.Fail(err)
			return nil
		}
	default: // in another file
		text, err := s.u.text(v)
		if err != nil {
			return nil
		}
		return []byte(text)
	}
	if off >= uint64(len(s.str)) {
		return nil
	}
	rest := s.str[off:]
	return rest[:max(0, bytes.IndexByte(rest, 0))]
}

// children scans the entries up to the end of those below one. In a type, only functions, static
// members and types have names of their own.
func (s *scanner) children(pass bool) {
	if s.left--; s.left < 0 {
		s.Fail(fmt.Errorf("%w: entries that lie too deep in each other", ErrFormat))
		return
	}
	defer func() { s.left++ }()
	var f found
	for s.Off < len(s.B) {
		at := s.Off
		p := s.next()
		if p == nil {
			return
		}
		s.read(p, &f)
		if !pass {
			s.entry(at, p, &f)
		}
		if !p.children {
			continue
		}
		below := pass || !s.opens(p.tag)
		if below && f.sibling > s.Off {
			s.Off = f.sibling
			continue
		}
		s.children(below)
	}
}

// opens reports whether entries below one with a tag have names that are looked for.
func (s *scanner) opens(tag sd.Tag) bool {
	switch tag {
	case sd.TagNamespace, sd.TagEnumerationType, sd.TagModule:
		return true
	case sd.TagStructType, sd.TagClassType, sd.TagUnionType, sd.TagInterfaceType:
		return !s.c
	}
	return false
}

// entry notes an entry if it is one that names are looked for.
func (s *scanner) entry(at int, p *plan, f *found) {
	switch p.tag {
	case sd.TagSubprogram, sd.TagVariable, sd.TagConstant:
		if f.declared && !p.value {
			return
		}
	case sd.TagStructType, sd.TagClassType, sd.TagUnionType, sd.TagEnumerationType, sd.TagTypedef, sd.TagBaseType, sd.TagInterfaceType, sd.TagUnspecifiedType:
		if f.declared {
			return
		}
	case sd.TagEnumerator:
	default:
		return
	}
	if name := s.nameOf(f); len(name) > 0 {
		s.out = append(s.out, uint64(hashOf(name))<<32|(s.u.off+uint64(at)))
	}
}

// nameOf returns the name of an entry, or that of the one that it refers to.
func (s *scanner) nameOf(f *found) []byte {
	name := f.name
	for n := 0; len(name) == 0 && f.origin != 0 && n < maxChain; n++ {
		name = s.nameAt(f)
	}
	if len(name) == 0 && f.far.Form != 0 {
		if e, err := s.u.ref(f.far); err == nil {
			return []byte(e.Name())
		}
	}
	return name
}

// nameAt reads the entry that another one refers to.
func (s *scanner) nameAt(f *found) []byte {
	was, err := s.Off, s.Err
	s.Off = f.origin
	f.origin = 0
	var of found
	if p := s.next(); p != nil {
		s.read(p, &of)
		f.origin, f.far = of.origin, of.far
	}
	s.Off, s.Err = was, err
	return of.name
}

// hashOf is FNV-1a, for names.
func hashOf[T string | []byte](name T) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(name); i++ {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h
}
