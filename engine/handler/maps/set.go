// Package maps implements the maps of handlers, in memory that the engine, traced programs and
// other tracers share: arrays, hashes, LRU hashes, each also with a value for each CPU, stack
// traces, and rings.
//
// All maps of a handler lie in one region, a Set, which describes itself: any process that has its
// file can open it. Machine code in traced programs works on the same memory, so that this package
// defines the layout, in constants and in the comments of each map type.
//
// There are no locks. A process that dies in the middle of an operation leaves at most the memory
// of one entry unused. A full map refuses with an error and counts it. Hashes are lists after M.
// Michael ("High Performance Dynamic Lock-Free Hash Tables and List-Based Sets", 2002): each link
// has a count of its changes, so that a thread can't change a link that is not any more what the
// thread has read.
//
// Values are bytes, with numbers in them little-endian and aligned to 8. Programs may use the
// address of a value freely, as in the kernel: only atomic additions are exact.
//
// A traced program can write all of this. The package checks everything that it reads, and every
// operation ends. It imports program and ring.
package maps

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
)

// Errors about sets of maps.
var (
	ErrTooLarge = errors.New("maps too large")
	ErrSet      = errors.New("no set of maps")
)

// Offsets at the start of a set's region. Behind them is a header for each map, then the maps.
const (
	magic    = 0x0073_7061_6d74_7004 // the version is in the last byte
	offSize  = 8                     // the region's size
	offCPUs  = 16
	offMaps  = 24 // the number of maps
	offSlots = 32 // Slots, or 0; see slots.go for the words behind it
	setSize  = 128
)

// Options of New.
type Options struct {
	// CPUs is the largest possible number of CPUs, for maps with a value for each; 0 means 1.
	CPUs int
	// Slots makes arrays with a value for each CPU have slots.
	Slots bool
	// Limit is the most memory that all maps may take, in bytes; 0 is 1 GiB.
	Limit int
	// File makes the file for the maps, new and empty, which no other user can shorten; nil: a file
	// in memory, without a name.
	File func() (*os.File, error)
}

// slots is the number of slots, 0 for none.
func (o *Options) slots() int {
	if o.Slots && o.CPUs < Slots/2 {
		return Slots
	}
	return 0
}

func (o *Options) region(size int) (*ring.Region, error) {
	if o.File == nil {
		return ring.Create("ptracer maps", size)
	}
	f, err := o.File()
	if err != nil {
		return nil, err
	}
	return ring.CreateIn(f, size)
}

// maxMaps is the largest number of maps in a handler, the kernel's limit (MAX_USED_MAPS).
const maxMaps = 64

// Set is a handler's maps.
type Set struct {
	region *ring.Region
	cpus   int
	slots  int // Slots, or 0
	maps   []*Map
}

// New makes maps with their initial contents. Errors are ErrTooLarge, or errors of shared memory.
func New(specs []program.Map, o Options) (*Set, error) {
	cpus := max(o.CPUs, 1)
	shapes, size, err := layOut(specs, o)
	if err != nil {
		return nil, err
	}
	region, err := o.region(size)
	if err != nil {
		return nil, err
	}
	s := &Set{region: region, cpus: cpus, slots: o.slots()}
	b := region.Bytes()
	for i := range specs {
		shapes[i].write(b, setSize+i*HeaderSize, &specs[i])
	}
	for at, v := range map[int]int{offSize: size, offCPUs: cpus, offMaps: len(specs), offSlots: s.slots, OffNextSlot: cpus + 1} {
		ring.Word(b, at).Store(uint64(v))
	}
	if err := s.fill(specs, shapes); err != nil {
		region.Close()
		return nil, err
	}
	ring.Word(b, 0).Store(magic)
	return s, nil
}

// Fit returns the error that New would return because of the maps' sizes, for executors that make
// the maps elsewhere.
func Fit(specs []program.Map, o Options) error {
	_, _, err := layOut(specs, o)
	return err
}

// layOut returns the shapes of the maps in a region, and the region's size in bytes.
func layOut(specs []program.Map, o Options) (shapes []shape, size int, err error) {
	cpus, limit := max(o.CPUs, 1), cmp.Or(o.Limit, 1<<30)
	if len(specs) > maxMaps {
		return nil, 0, fmt.Errorf("%w: %d maps, there can be %d", ErrTooLarge, len(specs), maxMaps)
	}
	size = setSize + len(specs)*HeaderSize
	shapes = make([]shape, len(specs))
	for i := range specs {
		sh, err := shapeOf(&specs[i], cpus, o.slots(), size)
		if err != nil {
			return nil, 0, err
		}
		if sh.end-size > limit || sh.end > limit {
			return nil, 0, fmt.Errorf("%w: map %q would take %d MiB, all together %d MiB; the limit is %d MiB: fewer or smaller entries",
				ErrTooLarge, specs[i].Name, (sh.end-size)>>20, sh.end>>20, limit>>20)
		}
		shapes[i], size = sh, sh.end
	}
	return shapes, size, nil
}

// fill makes the maps in the region.
func (s *Set) fill(specs []program.Map, shapes []shape) error {
	for i := range specs {
		m, err := newMap(s, i, specs[i], shapes[i], true)
		if err != nil {
			return err
		}
		s.maps = append(s.maps, m)
		for _, kv := range specs[i].Contents {
			if err := m.Update(kv.Key, kv.Value, 0, AllCPUs); err != nil {
				return fmt.Errorf("map %q: initial contents: %w", specs[i].Name, err)
			}
		}
	}
	return nil
}

// Open opens the maps that another process has made. If there is no error, the set owns the file.
func Open(file *os.File) (*Set, error) {
	region, err := ring.Open(file)
	if err != nil {
		return nil, err
	}
	return opened(region)
}

// OpenToRead opens the maps that another process has made for reading: the caller may use Entries,
// All and Lookup, and nothing else. If there is no error, the set owns the file.
func OpenToRead(file *os.File) (*Set, error) {
	region, err := ring.OpenToRead(file)
	if err != nil {
		return nil, err
	}
	return opened(region)
}

// OpenOwn opens maps in a file that Options.File of New has made. If there is no error, the set
// owns the file.
func OpenOwn(file *os.File) (*Set, error) {
	region, err := ring.OpenOwn(file)
	if err != nil {
		return nil, err
	}
	return opened(region)
}

func opened(region *ring.Region) (*Set, error) {
	s, err := open(region)
	if err != nil {
		region.Close()
	}
	return s, err
}

func open(region *ring.Region) (*Set, error) {
	b := region.Bytes()
	if len(b) < setSize || ring.Word(b, 0).Load() != magic {
		return nil, fmt.Errorf("%w: another format, or another version's", ErrSet)
	}
	size, cpus, n := ring.Word(b, offSize).Load(), ring.Word(b, offCPUs).Load(), ring.Word(b, offMaps).Load()
	if size != uint64(len(b)) || cpus == 0 || cpus > 1<<16 || n > maxMaps || setSize+int(n)*HeaderSize > len(b) {
		return nil, fmt.Errorf("%w: %d maps for %d CPUs in %d of %d bytes", ErrSet, n, cpus, size, len(b))
	}
	slots := ring.Word(b, offSlots).Load()
	if slots != 0 && (slots != Slots || cpus >= Slots/2) {
		return nil, fmt.Errorf("%w: %d slots", ErrSet, slots)
	}
	s := &Set{region: region, cpus: int(cpus), slots: int(slots)}
	for i := range int(n) {
		spec, sh, err := readShape(b, setSize+i*HeaderSize, s.cpus, s.slots)
		if err != nil {
			return nil, err
		}
		m, err := newMap(s, i, spec, sh, false)
		if err != nil {
			return nil, err
		}
		s.maps = append(s.maps, m)
	}
	return s, nil
}

// Bytes is the memory of the region.
func (s *Set) Bytes() []byte { return s.region.Bytes() }

// File is the region's file, for other processes.
func (s *Set) File() *os.File { return s.region.File() }

// CPUs is the number of values in maps with one for each CPU.
func (s *Set) CPUs() int { return s.cpus }

// Len is the number of maps.
func (s *Set) Len() int { return len(s.maps) }

// Map returns map i, in the order of the list that New got.
func (s *Set) Map(i int) *Map { return s.maps[i] }

// ByName returns the map called name, nil if there is none.
func (s *Set) ByName(name string) *Map {
	for _, m := range s.maps {
		if m.spec.Name == name {
			return m
		}
	}
	return nil
}

// Entries returns the entries of the map called name, none if there is no such map: see Map.All.
func (s *Set) Entries(name string) iter.Seq2[[]byte, [][]byte] {
	if m := s.ByName(name); m != nil {
		return m.All()
	}
	return func(func([]byte, [][]byte) bool) {}
}

// Close unmaps the maps. They must have no user meanwhile, nor afterwards.
func (s *Set) Close() error { return s.region.Close() }
