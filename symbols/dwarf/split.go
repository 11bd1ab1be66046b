package dwarf

import (
	sd "debug/dwarf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// Split units: the object has a skeleton of each unit, with its addresses; the rest is in a file
// beside the object files (.dwo), or in one package of these (.dwp).

// dwo returns what a skeleton says about its split unit.
func (u *Unit) dwo() (name, dir string, id uint64, ok bool) {
	e, err := u.Root()
	if err != nil {
		return "", "", 0, false
	}
	name = e.Text(sd.AttrDwoName)
	if name == "" {
		name = e.Text(attrGNUDWOName)
	}
	id, ok = u.sig, u.kind == kindSkeleton
	if !ok {
		id, ok = e.Uint(attrGNUDWOID)
	}
	return name, e.Text(sd.AttrCompDir), id, ok && name != "" && !u.d.dwo
}

// Whole returns the unit with all that the compiler has told of it: of a skeleton its split unit,
// else u itself. The error says why a split unit can't be had; then u is returned.
func (u *Unit) Whole() (*Unit, error) {
	name, dir, id, ok := u.dwo()
	if !ok {
		return u, nil
	}
	d := u.d
	pkg, err := d.packed()
	if err != nil {
		return u, err
	}
	if pkg != nil {
		whole, err := pkg.splitUnit(u, id)
		if err != nil {
			return u, err
		}
		if whole != nil {
			return whole, nil
		}
	}
	other, err := d.dwoFile(name, dir)
	if err != nil {
		return u, fmt.Errorf("split debug information: %w", err)
	}
	whole, err := other.splitUnit(u, id)
	if err == nil && whole == nil {
		err = fmt.Errorf("%s has no unit with id %#x: it is of another build", other.where.Path, id)
	}
	if err != nil {
		return u, err
	}
	return whole, nil
}

// packed returns the package of the object's split units, nil if there is none.
func (d *Data) packed() (*Data, error) {
	d.pack.Do(func() {
		d.pkg, d.noPkg = d.open(true, d.where.Path+".dwp")
		if errors.Is(d.noPkg, fs.ErrNotExist) {
			d.noPkg = nil
		}
	})
	return d.pkg, d.noPkg
}

// dwoFile opens a file of split units: as its skeleton names it, or of that name beside the object.
func (d *Data) dwoFile(name, dir string) (*Data, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, name)
	}
	d.splitMu.Lock()
	other := d.split[path]
	d.splitMu.Unlock()
	if other != nil {
		return other, nil
	}
	other, err := d.open(true, path, filepath.Join(filepath.Dir(d.where.Path), filepath.Base(name)))
	if err != nil {
		return nil, err
	}
	d.splitMu.Lock()
	defer d.splitMu.Unlock()
	if was := d.split[path]; was != nil {
		return was, other.Close()
	}
	if d.split == nil {
		d.split = map[string]*Data{}
	}
	d.split[path] = other
	return other, nil
}

// splitUnit returns the split unit of a skeleton; nil if the file does not have it.
func (d *Data) splitUnit(skeleton *Unit, id uint64) (*Unit, error) {
	all, err := d.units()
	if err != nil {
		return nil, err
	}
	u := all.byDWO[id]
	if u == nil {
		return nil, nil
	}
	d.splitMu.Lock()
	defer d.splitMu.Unlock()
	if u.skeleton == nil {
		u.skeleton = skeleton
	}
	return u, nil
}

// splitType returns the type unit with a signature in the package of split units, nil if there is
// none. A .dwo file has the type units that its own units refer to.
func (d *Data) splitType(sig uint64) (*Unit, error) {
	pkg, err := d.packed()
	if pkg == nil || err != nil {
		return nil, err
	}
	all, err := pkg.units()
	if err != nil {
		return nil, err
	}
	return all.bySig[sig], nil
}

// contrib says which parts of a package's sections are a unit's.
type contrib struct {
	off, size [sections]uint64
	set       [sections]bool
}

// Sections in the index of a package, by their numbers (DWARF 5, 7.3.5.3, and GNU's for DWARF 4).
var (
	packed5 = map[uint32]sectionID{1: secInfo, 3: secAbbrev, 4: secLine, 5: secLocLists, 6: secStrOffsets, 8: secRngLists}
	packed2 = map[uint32]sectionID{1: secInfo, 2: secTypes, 3: secAbbrev, 4: secLine, 5: secLoc, 6: secStrOffsets}
)

// readPackage notes for each unit of a package which parts of the sections are its own.
func (d *Data) readPackage(all *units) error {
	for _, id := range []sectionID{secCUIndex, secTUIndex} {
		s, err := d.section(id)
		if err != nil {
			return err
		}
		if s.Size == 0 {
			continue
		}
		b, err := s.At(0, s.Size)
		if err != nil {
			return err
		}
		if err := readIndex(b, all, id == secTUIndex); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

// readIndex reads the index of a package's units, or of its type units.
func readIndex(data []byte, all *units, types bool) error {
	b := &raw.Buf{B: data}
	version := b.U32() // DWARF 5: 2 bytes, and 2 of padding
	columns, rows, slots := b.U32(), b.U32(), b.U32()
	known := packed2
	if version&0xffff == 5 {
		known = packed5
	} else if version != 2 {
		return fmt.Errorf("%w: version %d", ErrFormat, version)
	}
	sigs, numbers := &raw.Buf{B: b.Bytes(8 * uint64(slots))}, &raw.Buf{B: b.Bytes(4 * uint64(slots))}
	ids, offs, sizes := b.Bytes(4*uint64(columns)), b.Bytes(4*uint64(columns)*uint64(rows)), b.Bytes(4*uint64(columns)*uint64(rows))
	if b.Err != nil {
		return b.Err
	}
	for range slots {
		sig, row := sigs.U64(), numbers.U32()
		if row == 0 || row > rows {
			continue
		}
		var c contrib
		at := 4 * int(row-1) * int(columns)
		column, off, size := &raw.Buf{B: ids}, &raw.Buf{B: offs, Off: at}, &raw.Buf{B: sizes, Off: at}
		for range columns {
			id, ok := known[column.U32()]
			o, n := uint64(off.U32()), uint64(size.U32())
			if ok {
				c.off[id], c.size[id], c.set[id] = o, n, true
			}
		}
		all.assign(sig, c, types)
	}
	return nil
}

// assign gives a unit its parts of the sections.
func (all *units) assign(sig uint64, c contrib, types bool) {
	list, in := all.info, secInfo
	if types && c.set[secTypes] {
		list, in = all.types, secTypes
	}
	off, size := c.off[in], c.size[in]
	c.set[secInfo], c.set[secTypes] = false, false // units are found by their offsets in the whole
	for _, u := range inside(list, off, size) {
		u.contrib = &c
		if !types && u.kind == kindCompile {
			all.byDWO[sig] = u
		}
	}
}

// errNotSplit says that a unit of DWARF 4 in a .dwo file has no id.
var errNotSplit = errors.New("a unit without an id")

// readIDs finds the ids of split units of DWARF 4, which are in their first entries.
func (d *Data) readIDs(all *units) error {
	for _, u := range all.info {
		if u.kind != kindCompile || u.contrib != nil {
			continue
		}
		e, err := u.Root()
		if err != nil {
			return err
		}
		id, ok := e.Uint(attrGNUDWOID)
		if !ok {
			return fmt.Errorf("%w: %w", ErrFormat, errNotSplit)
		}
		all.byDWO[id] = u
	}
	return nil
}
