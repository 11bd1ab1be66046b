package dwarf

import (
	"cmp"
	sd "debug/dwarf"
	"fmt"
	"slices"
	"sort"
)

// span is a range of addresses that belongs to a unit.
type span struct {
	Range
	u *Unit
}

// readSpans lists the code of all units, by ascending addresses.
func (d *Data) readSpans() ([]span, error) {
	all, err := d.units()
	if err != nil {
		return nil, err
	}
	var list []span
	for _, u := range all.info {
		ranges, err := u.Ranges()
		if err != nil {
			return nil, fmt.Errorf("unit at %#x: %w", u.off, err)
		}
		for _, r := range ranges {
			list = append(list, span{r, u})
		}
	}
	slices.SortStableFunc(list, func(a, b span) int { return cmp.Compare(a.Low, b.Low) })
	return list, nil
}

// UnitOf returns the unit whose code has an address, nil if there is none.
func (d *Data) UnitOf(addr uint64) (*Unit, error) {
	list, err := d.spans()
	if err != nil {
		return nil, err
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].Low > addr })
	for n := 0; i > 0 && n < maxOverlap; n++ {
		if i--; list[i].Contains(addr) {
			return list[i].u, nil
		}
	}
	return nil, nil
}

// maxOverlap is how many ranges that begin before an address are looked at for one that has it:
// they do not overlap, but in files that no linker makes, and where code was thrown away.
const maxOverlap = 64

// Scopes returns what an address lies in, from the outside in: the function, and the blocks and
// inlined calls in it. There is none if no unit has the address, or none of its functions.
func (d *Data) Scopes(addr uint64) ([]Entry, error) {
	u, err := d.UnitOf(addr)
	if u == nil || err != nil {
		return nil, err
	}
	if u, err = u.Whole(); err != nil {
		return nil, err
	}
	fn, err := u.functionAt(addr)
	if err != nil || fn.ab == nil {
		return nil, err
	}
	list := []Entry{fn}
	for len(list) < maxDepth {
		in, err := blockAt(list[len(list)-1], addr)
		if err != nil || in.ab == nil {
			return list, err
		}
		list = append(list, in)
	}
	return list, nil
}

// code is a range of addresses that belongs to a function.
type code struct {
	Range
	fn uint64 // the function's entry
}

// readFunctions lists the code of all functions of a unit, by ascending addresses: those too that are
// in a type or another function, as lambdas are.
func (u *Unit) readFunctions() (list []code, err error) {
	var inner error
	err = u.Entries(func(e Entry) bool {
		if e.Tag() != sd.TagSubprogram || !e.Has(sd.AttrLowpc) && !e.Has(sd.AttrRanges) {
			return true
		}
		ranges, err := e.Ranges()
		for _, r := range ranges {
			list = append(list, code{r, e.Offset()})
		}
		inner = err
		return err == nil
	})
	slices.SortStableFunc(list, func(a, b code) int { return cmp.Compare(a.Low, b.Low) })
	return list, cmp.Or(inner, err)
}

// functionAt finds the function with an address; it has no tag if there is none.
func (u *Unit) functionAt(addr uint64) (Entry, error) {
	list, err := u.functions()
	if err != nil {
		return Entry{}, err
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].Low > addr })
	for n := 0; i > 0 && n < maxOverlap; n++ {
		if i--; list[i].Contains(addr) {
			return u.EntryAt(list[i].fn)
		}
	}
	return Entry{}, nil
}

// covers reports whether an entry is about code that has an address, or begins with it: gcc tells
// the entry of an inlined call also where its first instruction was moved away.
func (e Entry) covers(addr uint64) (bool, error) {
	if entry, ok := e.Addr(sd.AttrEntrypc); ok && entry == addr && e.Tag() == sd.TagInlinedSubroutine {
		return true, nil
	}
	if !e.Has(sd.AttrLowpc) && !e.Has(sd.AttrRanges) {
		return false, nil
	}
	list, err := e.Ranges()
	return slices.ContainsFunc(list, func(r Range) bool { return r.Contains(addr) }), err
}

// blockAt finds the block or the inlined call with an address directly below an entry.
func blockAt(in Entry, addr uint64) (block Entry, err error) {
	var inner error
	err = in.Children(func(e Entry) bool {
		switch e.Tag() {
		case sd.TagLexDwarfBlock, sd.TagInlinedSubroutine, sd.TagTryDwarfBlock, sd.TagCatchDwarfBlock, sd.TagWithStmt:
			ok, err := e.covers(addr)
			if inner = err; ok {
				block = e
			}
		}
		return inner == nil && block.ab == nil
	})
	if inner != nil {
		err = inner
	}
	return block, err
}

// Parents returns what an entry lies in, from the unit's first entry on. An entry that completes
// another one (the body of a method) may lie elsewhere than what it completes; see Declaration.
func (e Entry) Parents() (list []Entry, err error) {
	at, err := e.u.Root()
	if err != nil {
		return nil, err
	}
	for at.start != e.start && len(list) < maxDepth {
		list = append(list, at)
		var next Entry
		err := at.Children(func(child Entry) bool {
			if child.start > e.start {
				return false
			}
			next = child
			return true
		})
		if err != nil {
			return nil, err
		}
		if next.ab == nil {
			return nil, fmt.Errorf("%w: nothing has the entry at %#x", ErrFormat, e.Offset())
		}
		at = next
	}
	return list, nil
}

// Declaration returns the entry that has the name and the place of an entry in the source: of an
// inlined copy that of the function, of a definition the declaration in its type; else e itself.
func (e Entry) Declaration() Entry {
	for range maxChain {
		to, ok := e.origin()
		if !ok {
			break
		}
		e = to
	}
	return e
}

// QualifiedName is the entry's name with those of the namespaces and types that it lies in, joined by
// "::".
func (e Entry) QualifiedName() string {
	e = e.Declaration()
	name := e.Text(sd.AttrName)
	parents, err := e.Parents()
	if err != nil {
		return name
	}
	for _, p := range slices.Backward(parents) {
		switch p.Tag() {
		case sd.TagNamespace, sd.TagModule, sd.TagStructType, sd.TagClassType, sd.TagUnionType, sd.TagEnumerationType, sd.TagInterfaceType:
			if of := p.Text(sd.AttrName); of != "" {
				name = of + "::" + name
			}
		}
	}
	return name
}

// File is the path of the file in which an entry is declared, "" if it does not say.
func (e Entry) File() string {
	of, ok := e.With(sd.AttrDeclFile)
	if !ok {
		return ""
	}
	n, _ := of.Uint(sd.AttrDeclFile)
	t, err := of.u.Lines()
	if t == nil || err != nil {
		return ""
	}
	return t.File(int(min(n, 1<<31-1)), of.u.Dir())
}
