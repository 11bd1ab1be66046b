package dwarf

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"

	"github.com/ptracer/ptracer/symbols/elffile"
)

// ErrNone says that a file has no debug information.
var ErrNone = errors.New("no debug information")

// ErrFormat is wrapped by errors about debug information that is damaged.
var ErrFormat = raw.ErrFormat

// Value is the value of an attribute as it is written. Unit's methods say what it stands for.
type Value = raw.Value

// Data is the debug information of one ELF object. It may be used by several goroutines.
type Data struct {
	o     *elffile.Object
	dwo   bool // its sections are those of split units
	where Where
	cache *raw.Cache
	secs  [sections]lazy
	units func() (*units, error)
	names func() (*Names, error)
	spans func() ([]span, error)

	spent atomic.Uint64 // bytes that were read again and again

	mu     sync.Mutex
	abbrev map[uint64]*abbrevs // tables by their offsets
	recent []*Unit             // units whose bytes are in memory, the last one used last
	kept   uint64              // so many bytes

	files // other files that hold parts of it
}

// New returns the debug information of an object, ErrNone if there is none. The object's file must
// stay open.
func New(o *elffile.Object, where Where) (*Data, error) {
	d := newData(o, where, false)
	if _, ok := o.Section(".debug_info", ".zdebug_info"); !ok {
		return nil, ErrNone
	}
	return d, nil
}

func newData(o *elffile.Object, where Where, dwo bool) *Data {
	d := &Data{o: o, where: where, cache: raw.NewCache(where.Cache, o.Reader), dwo: dwo, abbrev: map[uint64]*abbrevs{}}
	d.units = sync.OnceValues(d.readUnits)
	d.names = sync.OnceValues(d.index)
	d.spans = sync.OnceValues(d.readSpans)
	return d
}

// section returns a section, an empty one if the file has none.
func (d *Data) section(id sectionID) (*raw.Section, error) {
	l := &d.secs[id]
	l.once.Do(func() {
		name := sectionNames[id]
		if d.dwo && id != secCUIndex && id != secTUIndex {
			name += ".dwo"
		}
		l.sec, l.err = raw.Open(d.o, name, d.cache)
	})
	return l.sec, l.err
}

// sectionID names a section.
type sectionID int

const (
	secInfo sectionID = iota
	secTypes
	secAbbrev
	secStr
	secLineStr
	secStrOffsets
	secAddr
	secRanges
	secRngLists
	secLoc
	secLocLists
	secLine
	secARanges
	secCUIndex
	secTUIndex
	sections // how many there are
)

var sectionNames = [sections]string{"info", "types", "abbrev", "str", "line_str", "str_offsets", "addr", "ranges", "rnglists", "loc", "loclists", "line", "aranges", "cu_index", "tu_index"}

// lazy is a section that is found, and inflated, when it is first asked for.
type lazy struct {
	once sync.Once
	sec  *raw.Section
	err  error
}

// units are the units of .debug_info and .debug_types, each by ascending offset.
type units struct {
	info, types []*Unit
	bySig       map[uint64]*Unit // type units
	byDWO       map[uint64]*Unit // split units, in a file of them
}

// maxUnits is how many units are read: linkers have been seen to make 200,000.
const maxUnits = 4 << 20

// readUnits reads the headers of all units.
func (d *Data) readUnits() (*units, error) {
	all := &units{bySig: map[uint64]*Unit{}, byDWO: map[uint64]*Unit{}}
	for id, list := range map[sectionID]*[]*Unit{secInfo: &all.info, secTypes: &all.types} {
		s, err := d.section(id)
		if err != nil {
			return nil, err
		}
		for off := uint64(0); off < s.Size; {
			u, err := readUnit(d, s, id == secTypes, off)
			if err != nil {
				return nil, fmt.Errorf("unit at %#x of %s: %w", off, s.Name, err)
			}
			if *list = append(*list, u); len(*list) > maxUnits {
				return nil, fmt.Errorf("more than %d units: %w", maxUnits, elffile.ErrBudget)
			}
			switch u.kind {
			case kindType, kindSplitType:
				all.bySig[u.sig] = u
			case kindSplit:
				all.byDWO[u.sig] = u
			}
			off = u.end
		}
	}
	if !d.dwo {
		return all, nil
	}
	if err := d.readPackage(all); err != nil {
		return nil, err
	}
	return all, d.readIDs(all)
}

// inside are the units that begin in a range of their section.
func inside(list []*Unit, off, size uint64) []*Unit {
	first := sort.Search(len(list), func(i int) bool { return list[i].off >= off })
	last := sort.Search(len(list), func(i int) bool { return list[i].off >= off+size })
	return list[first:max(first, last)]
}

// Units lists the units of .debug_info.
func (d *Data) Units() ([]*Unit, error) {
	all, err := d.units()
	if err != nil {
		return nil, err
	}
	return all.info, nil
}

// unitAt finds the unit that has offset off of .debug_info, or of .debug_types.
func (d *Data) unitAt(off uint64, types bool) (*Unit, error) {
	all, err := d.units()
	if err != nil {
		return nil, err
	}
	list := all.info
	if types {
		list = all.types
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].end > off })
	if i == len(list) || off < list[i].data {
		return nil, fmt.Errorf("%w: no unit has offset %#x", ErrFormat, off)
	}
	return list[i], nil
}

// abbrevsAt returns the table of abbreviations at an offset.
func (d *Data) abbrevsAt(s *raw.Section, off uint64) (t *abbrevs, err error) {
	key := s.Off + off
	d.mu.Lock()
	t = d.abbrev[key]
	d.mu.Unlock()
	if t != nil {
		return t, nil
	}
	err = s.Growing(off, 4<<10, func(b []byte) (err error) {
		var n int
		if t, n, err = readAbbrevs(b); err == nil || errors.Is(err, raw.ErrShort) {
			if spent := d.spend(abbrevCost*uint64(n), s); spent != nil {
				return spent
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.abbrev) >= maxAbbrevs {
		clear(d.abbrev)
	}
	d.abbrev[key] = t
	return t, nil
}

// maxAbbrevs is how many tables of abbreviations are kept, maxRecent how many bytes of units.
const (
	maxAbbrevs = 32
	maxRecent  = 4 << 20
)

// keep notes that a unit's bytes are in memory, and drops those that have not been used for
// longest.
func (d *Data) keep(u *Unit, n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recent = append(d.recent, u)
	for d.kept += n; d.kept > maxRecent && len(d.recent) > 1; d.recent = d.recent[1:] {
		old := d.recent[0]
		if b := old.bytes.Swap(nil); b != nil {
			d.kept -= uint64(len(*b))
		}
	}
}

// Bounds of what is read of lists and units, in bytes: entries may refer to one list, or to units that
// are read in turn, any number of times, each for a few bytes of the file.
const (
	spendFloor  = 256 << 20
	spendFactor = 64
	abbrevCost  = 16 // a byte of a table of abbreviations costs so many times what one of a list does
)

// spend notes that n bytes of a section are read. It fails if the file has had its share.
func (d *Data) spend(n uint64, s *raw.Section) error {
	if d.spent.Add(n) > spendFloor+spendFactor*s.Size {
		return fmt.Errorf("%s is read again and again: %w", s.Name, elffile.ErrBudget)
	}
	return nil
}
