package maps

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
)

// Slots. A map with a value for each CPU is exact only with atomic operations: a thread can be
// preempted, and moved, between reading the CPU's number and writing. So the arrays of a set with
// Options.Slots have a value for each of many slots. A thread takes a slot for itself, which no
// other thread writes; then one instruction suffices, without a lock. The values, or slots, are
//
//	0 to CPUs-1        of CPUs, for code that has no slot of its own; atomic
//	CPUs               the engine's, which interprets if there is no code
//	CPUs+1 to Slots-1  of threads
//	Slots              of threads that found none: never read
//
// The next free slot is in the set's header. A program may have many sets, and uses the header of
// the one that it is told to use. A thread keeps its slot, and leaves it to a later thread with the
// same pointer to its own data (package helper, Threads).
const (
	Slots = 1024

	// OffNextSlot is the word with the next free slot, OffLost the word with the number of hits
	// without a slot.
	OffNextSlot = 40
	OffLost     = 48
)

// maxSlotted is how much memory a slot of a map may take, in bytes: larger maps have a value for each
// CPU only.
const maxSlotted = 64 << 10

// slotted reports whether a map has slots, in a set with slots.
func slotted(m *program.Map, slots int) bool {
	return slots > 0 && m.Type == program.PerCPUArray && align(int(m.ValueSize), 8)*int(m.MaxEntries) <= maxSlotted
}

// Engine is the CPU number for the engine's own lookups and updates.
const Engine = -2

// NextSlot is the next free slot of the programs that use this set for slots.
func (s *Set) NextSlot() int {
	return int(min(ring.Word(s.Bytes(), OffNextSlot).Load(), Slots))
}

// Lost is how many hits of these programs were not counted, since no slot was free.
func (s *Set) Lost() uint64 { return ring.Word(s.Bytes(), OffLost).Load() }

// InUse lists the values that may have been written, in order, for a map with one per CPU or slot.
func (m *Map) InUse() (list []int) {
	if !m.slotted {
		for c := range m.cpus {
			list = append(list, c)
		}
		return list
	}
	written := m.written(m.data, m.data+Slots*m.cpuStride)
	for c := range Slots {
		from := m.data + c*m.cpuStride
		if slices.ContainsFunc(written, func(x extent) bool { return x.from < from+m.cpuStride && from < x.to }) {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		list = []int{0}
	}
	return list
}

// extent is a range in a file.
type extent struct{ from, to int }

// written returns the ranges of the map's file between two offsets that have memory. Reading others
// would allocate it.
func (m *Map) written(start, end int) (list []extent) {
	const data, hole = 3, 4 // SEEK_DATA, SEEK_HOLE
	fd := int(m.file.Fd())
	for at := int64(start); at < int64(end); {
		from, err := unix.Seek(fd, at, data)
		if err == unix.ENXIO {
			return list
		}
		to, err2 := unix.Seek(fd, from, hole)
		if err != nil || err2 != nil || to <= at {
			return []extent{{start, end}} // not a file in memory: the whole range
		}
		if from < int64(end) {
			list = append(list, extent{int(from), int(min(to, int64(end)))})
		}
		at = to
	}
	return list
}
