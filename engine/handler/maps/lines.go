package maps

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
)

// Lines. A map with a value for each CPU is exact only by atomic operations: a
// thread can be preempted, and moved, between asking for its CPU and writing. So
// arrays of a set with Options.Lines have a value for each of many lines, of which
// a thread takes one for itself, that nobody else writes: then one instruction is
// enough, without a lock. The values, or lines, are
//
//	0 to CPUs-1        of CPUs, for code that has no line of its own; atomically
//	CPUs               the engine's, which interprets where there is no code
//	CPUs+1 to Lines-1  threads'
//	Lines              of threads that found none: nobody reads it
//
// The next free one is in the set's header, of which a program has many; it uses
// that of the set that it is told to use. A thread keeps its line, and leaves it to
// a later one with the same pointer to its own data (package helper, Threads).
const (
	Lines = 1024

	// OffNextLine is the word with the next free line, OffLost that with how
	// many hits had none.
	OffNextLine = 40
	OffLost     = 48
)

// maxLined is how much memory a line of a map may take, bytes: larger maps have
// a value for each CPU only.
const maxLined = 64 << 10

// lined is whether a map of a set with lines has them.
func lined(m *program.Map, lines int) bool {
	return lines > 0 && m.Type == program.PerCPUArray && align(int(m.ValueSize), 8)*int(m.MaxEntries) <= maxLined
}

// Engine is the CPU that the engine's own lookups and updates are on.
const Engine = -2

// NextLine is the next free line of the programs that use this set for that, and
// Lost how many hits of theirs are nowhere, for want of a line.
func (s *Set) NextLine() int {
	return int(min(ring.Word(s.Bytes(), OffNextLine).Load(), Lines))
}

// Lost: see NextLine.
func (s *Set) Lost() uint64 { return ring.Word(s.Bytes(), OffLost).Load() }

// InUse lists the values that somebody may have written of a map with one for
// each CPU or line, in order.
func (m *Map) InUse() (list []int) {
	if !m.lined {
		for c := range m.cpus {
			list = append(list, c)
		}
		return list
	}
	written := m.written(m.data, m.data+Lines*m.cpuStride)
	for c := range Lines {
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

// extent is a part of a file.
type extent struct{ from, to int }

// written are the parts of the map's file between two places that there is memory for.
// To read others would make some.
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
			return []extent{{start, end}} // not a file in memory: all of it
		}
		if from < int64(end) {
			list = append(list, extent{int(from), int(min(to, int64(end)))})
		}
		at = to
	}
	return list
}
