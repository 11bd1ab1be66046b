package maps

import (
	"bytes"
	"fmt"
	"math/bits"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/failure"
)

// A map's header: words of 8 bytes, a name, and counters on a cache line of their own. Its offsets
// are relative to the region's start.
const (
	HeaderSize = 256

	offType       = 0
	offKeySize    = 8
	offValueSize  = 16
	offMaxEntries = 24
	offFlags      = 32
	offReadOnly   = 40
	offData       = 48
	offEnd        = 56
	offName       = 64
	nameSize      = 64

	// OffUsed counts entries of a hash, OffRefused entries that did not fit into a map, and
	// OffCursor is where the search for a free node starts.
	OffUsed    = 192
	OffRefused = 200
	OffCursor  = 208
)

// lineSize is the size of a cache line: values of different CPUs do not share one.
const lineSize = 64

// perfRing is the size in bytes of the ring for a perf event array; the array's description has
// none.
const perfRing = 256 << 10

// shape is the layout of a map. It follows from the map's description, the number of CPUs and the
// map's offset.
//
// Value i of CPU or slot c is at data + i*stride + c*cpuStride, in all maps with values.
type shape struct {
	start, end int
	data       int
	stride     int
	cpuStride  int
	entries    int // the number of entries
	nodes      int // the number of nodes of a hash, see hash
	nodeStride int
	keyOff     int // offset of the key in a node
	heads      int // of a hash: offset of its heads
	buckets    int // their number, a power of two
}

// pageSize is the size of a page of memory, or less.
const pageSize = 4096

func align(n, to int) int { return (n + to - 1) &^ (to - 1) }

// spare is how many nodes more than entries a hash has: for threads that are about to replace an
// entry, and so that a free node is found after few tries.
func spare(n int) int { return n/8 + 64 }

// maxBytes is more than any map may take, in bytes; sums of sizes up to it do not overflow.
const maxBytes = 1 << 40

// shapeOf lays out a map that begins at start.
func shapeOf(m *program.Map, cpus, slots, start int) (shape, error) {
	sh := shape{start: start, data: start, entries: int(m.MaxEntries)}
	value, key := align(int(m.ValueSize), 8), align(int(m.KeySize), 8)
	each := 1
	switch {
	case slotted(m, slots):
		each = slots + 1
		if value*sh.entries >= pageSize { // so that InUse can distinguish them
			sh.data = align(start, pageSize)
		}
	case m.Type.PerCPU():
		each = cpus
	}
	if float64(m.MaxEntries)*2*(float64(value)*float64(each)+float64(key)+64) > maxBytes {
		return sh, fmt.Errorf("%w: map %q: %d entries of %d bytes for %d CPUs", ErrTooLarge, m.Name, m.MaxEntries, m.ValueSize, each)
	}
	switch m.Type {
	case program.Array, program.PerCPUArray:
		sh.stride, sh.cpuStride = value, align(value*sh.entries, lineSize)
		sh.end = sh.data + each*sh.cpuStride
	case program.Hash, program.LRUHash, program.PerCPUHash:
		sh.hash(m, key, value, each)
	case program.StackTrace:
		sh.entries = 1 << bits.Len(uint(sh.entries-1))
		sh.data, sh.stride = start+8, 8+value
		sh.end = start + sh.entries*sh.stride
	case program.RingBuf, program.PerfEvents:
		if m.Type == program.PerfEvents {
			sh.entries = perfRing
		}
		sh.end = start + ring.HeaderSize + sh.entries
	default:
		return sh, failure.Unsupportedf("map %q: %v", m.Name, m.Type)
	}
	sh.end = align(sh.end, lineSize)
	return sh, nil
}

func (sh *shape) hash(m *program.Map, key, value, each int) {
	sh.entries += spare(sh.entries)
	sh.buckets = 1 << bits.Len(uint(sh.entries-1))
	sh.heads = sh.start
	sh.nodes = sh.heads + 8*sh.buckets
	sh.keyOff = nodeHead
	sh.nodeStride = nodeHead + key
	if m.Type.PerCPU() {
		sh.data = align(sh.nodes+sh.entries*sh.nodeStride, lineSize)
		sh.stride, sh.cpuStride = value, align(value*sh.entries, lineSize)
		sh.end = sh.data + each*sh.cpuStride
		return
	}
	sh.data = sh.nodes + sh.nodeStride
	sh.nodeStride += value
	sh.stride = sh.nodeStride
	sh.end = sh.nodes + sh.entries*sh.nodeStride
}

// write writes the header of a map at off.
func (sh *shape) write(b []byte, off int, m *program.Map) {
	readOnly := uint64(0)
	if m.ReadOnly {
		readOnly = 1
	}
	for at, v := range map[int]uint64{
		offType: uint64(m.Type), offKeySize: uint64(m.KeySize), offValueSize: uint64(m.ValueSize),
		offMaxEntries: uint64(m.MaxEntries), offFlags: uint64(m.Flags), offReadOnly: readOnly,
		offData: uint64(sh.start), offEnd: uint64(sh.end),
	} {
		ring.Word(b, off+at).Store(v)
	}
	copy(b[off+offName:off+offName+nameSize-1], m.Name)
}

// readShape reads a header, and checks that the map lies in the region.
func readShape(b []byte, off, cpus, slots int) (m program.Map, sh shape, err error) {
	word := func(at int) uint64 { return ring.Word(b, off+at).Load() }
	name, _, _ := bytes.Cut(b[off+offName:off+offName+nameSize], []byte{0})
	m = program.Map{
		Name: string(name), Type: program.MapType(word(offType)), KeySize: uint32(word(offKeySize)),
		ValueSize: uint32(word(offValueSize)), MaxEntries: uint32(word(offMaxEntries)), Flags: uint32(word(offFlags)),
		ReadOnly: word(offReadOnly) != 0,
	}
	if err := m.Check(); err != nil {
		return m, sh, fmt.Errorf("%w: %w", ErrSet, err)
	}
	start := word(offData)
	if start%lineSize != 0 || start > uint64(len(b)) {
		return m, sh, fmt.Errorf("%w: map %q at %#x", ErrSet, m.Name, start)
	}
	if sh, err = shapeOf(&m, cpus, slots, int(start)); err == nil && (sh.end > len(b) || uint64(sh.end) != word(offEnd)) {
		err = fmt.Errorf("%w: map %q ends at %#x of %#x", ErrSet, m.Name, sh.end, len(b))
	}
	return m, sh, err
}
