package maps

import (
	"iter"
	"os"
	"syscall"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
)

// Error is the reason for which a map refused an operation, as the kernel's error number.
type Error syscall.Errno

// Reasons of refusals, as in the kernel.
const (
	ErrFull     = Error(syscall.E2BIG) // or an index behind the last entry
	ErrExists   = Error(syscall.EEXIST)
	ErrNotFound = Error(syscall.ENOENT)
	ErrInvalid  = Error(syscall.EINVAL)
	ErrBusy     = Error(syscall.EBUSY) // other threads kept interfering, or the memory is corrupt
)

func (e Error) Error() string {
	switch e {
	case ErrFull:
		return "map is full, or there is no such index"
	case ErrExists:
		return "entry exists"
	case ErrNotFound:
		return "no such entry"
	case ErrInvalid:
		return "a map of this kind can't do that"
	}
	return syscall.Errno(e).Error()
}

// Errno is the kernel's number of the error.
func (e Error) Errno() int { return int(e) }

// Unwrap makes errors.Is find the kernel's error.
func (e Error) Unwrap() error { return syscall.Errno(e) }

// Flags of Update, the kernel's.
const (
	Any     = 0
	NoExist = 1 // fails if there is an entry
	Exist   = 2 // fails if there is no entry
)

// AllCPUs selects all values of an entry that has one for each CPU.
const AllCPUs = -1

// table is the part of a map that depends on its type.
type table interface {
	lookup(key []byte, cpu int) (off int, ok bool)
	update(key, value []byte, flags uint64, cpu int) error
	delete(key []byte) error
	// all yields the key of each entry, after copying its values for cpus into values.
	all(cpus []int, values [][]byte, yield func(key []byte) bool)
}

// Map is a map of a Set. Any goroutine may use it, except Ring's reader; lookups, updates and
// deletions do not allocate.
type Map struct {
	shape
	spec    program.Map
	offset  int // of the header
	b       []byte
	file    *os.File
	cpus    int // values of an entry: of CPUs or slots
	engine  int // the engine's value
	slotted bool
	table   table
	ring    *ring.Ring
}

// newMap returns map i of a set; it initializes the map if fresh is set.
func newMap(s *Set, i int, spec program.Map, sh shape, fresh bool) (m *Map, err error) {
	m = &Map{shape: sh, spec: spec, offset: setSize + i*HeaderSize, b: s.region.Bytes(), file: s.region.File(), cpus: 1}
	switch {
	case slotted(&spec, s.slots):
		m.cpus, m.engine, m.slotted = s.slots, s.cpus, true
	case spec.Type.PerCPU():
		m.cpus = s.cpus
	}
	switch spec.Type {
	case program.Array, program.PerCPUArray:
		m.table = (*array)(m)
	case program.Hash, program.LRUHash, program.PerCPUHash:
		h := &hash{Map: m, lru: spec.Type == program.LRUHash}
		if fresh {
			h.init()
		}
		m.table = h
	case program.StackTrace:
		m.table = (*stacks)(m)
	default:
		at := ring.At
		if fresh {
			at = ring.Format
		}
		m.table = noTable{}
		m.ring, err = at(m.b, sh.start, sh.entries)
	}
	return m, err
}

// Spec is the map's description.
func (m *Map) Spec() program.Map { return m.spec }

// Offset is the offset of the map's header in the region.
func (m *Map) Offset() int { return m.offset }

// Values says where value i of CPU c is: at data + i*stride + c*cpuStride in the region. The map's
// type defines the meaning of i.
func (m *Map) Values() (data, stride, cpuStride int) { return m.data, m.stride, m.cpuStride }

// Ring is the ring of a map for records, nil for other maps.
func (m *Map) Ring() *ring.Ring { return m.ring }

// Refused is how many entries, or in a ring how many records, did not fit.
func (m *Map) Refused() uint64 {
	if m.ring != nil {
		return m.ring.Dropped()
	}
	return ring.Word(m.b, m.offset+OffRefused).Load()
}

func (m *Map) refuse(e Error) error {
	ring.Word(m.b, m.offset+OffRefused).Add(1)
	return e
}

// Lookup returns the offset of a key's value in the region.
func (m *Map) Lookup(key []byte, cpu int) (off int, ok bool) {
	if len(key) != int(m.spec.KeySize) {
		return 0, false
	}
	return m.table.lookup(key, cpu)
}

// Update sets a key's value, for one CPU or AllCPUs. A new entry has 0 for the other CPUs. Errors
// are of type Error.
func (m *Map) Update(key, value []byte, flags uint64, cpu int) error {
	if len(key) != int(m.spec.KeySize) || len(value) != int(m.spec.ValueSize) || flags > Exist {
		return ErrInvalid
	}
	return m.table.update(key, value, flags, cpu)
}

// Delete deletes a key. Errors are of type Error.
func (m *Map) Delete(key []byte) error {
	if len(key) != int(m.spec.KeySize) {
		return ErrInvalid
	}
	return m.table.delete(key)
}

// All returns the map's entries: the key and one value, or the values of CPUs or slots that may
// have been written (InUse). Both are copies, valid until the next entry. Entries that are added or
// deleted meanwhile may be missing; no key appears twice. An array always has all its entries, a
// ring none.
func (m *Map) All() iter.Seq2[[]byte, [][]byte] {
	return func(yield func([]byte, [][]byte) bool) {
		cpus := m.InUse()
		values := make([][]byte, len(cpus))
		for c := range values {
			values[c] = make([]byte, m.spec.ValueSize)
		}
		m.table.all(cpus, values, func(key []byte) bool { return yield(key, values) })
	}
}

// valueAt returns the offset of value i.
func (m *Map) valueAt(i, cpu int) int { return m.data + i*m.stride + cpu*m.cpuStride }

// set writes value i, of one CPU or all.
func (m *Map) set(i int, value []byte, cpu int) {
	if cpu != AllCPUs {
		m.store(m.valueAt(i, m.clamp(cpu)), value)
		return
	}
	for c := range m.cpus {
		m.store(m.valueAt(i, c), value)
	}
}

// clamp limits a CPU's number to the valid range.
func (m *Map) clamp(cpu int) int {
	switch {
	case cpu == Engine:
		return m.engine
	case uint(cpu) >= uint(m.cpus):
		return 0
	}
	return cpu
}

// store writes bytes, whole words atomically: a concurrent reader sees the old or the new word.
func (m *Map) store(off int, value []byte) {
	for ; len(value) >= 8; off, value = off+8, value[8:] {
		ring.Word(m.b, off).Store(word(value))
	}
	copy(m.b[off:], value)
}

// load reads bytes in the same way.
func (m *Map) load(off int, into []byte) {
	for ; len(into) >= 8; off, into = off+8, into[8:] {
		putWord(into, ring.Word(m.b, off).Load())
	}
	copy(into, m.b[off:])
}

// loadAll copies the values of entry i for cpus.
func (m *Map) loadAll(i int, cpus []int, values [][]byte) {
	for n, c := range cpus {
		m.load(m.valueAt(i, c), values[n])
	}
}

// noTable is the table of maps without entries.
type noTable struct{}

func (noTable) lookup([]byte, int) (int, bool)            { return 0, false }
func (noTable) update(_, _ []byte, _ uint64, _ int) error { return ErrInvalid }
func (noTable) delete([]byte) error                       { return ErrInvalid }
func (noTable) all([]int, [][]byte, func([]byte) bool)    {}
