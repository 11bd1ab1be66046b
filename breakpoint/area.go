package breakpoint

import (
	"bytes"
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// An area is one mapping of ptracer's in the tracee. The program can read and execute it;
// only the tracer writes it:
//
//	header | guard code and header | stub room | cells | index chunk
//
// The first area of a space, its base, has the guard and the stub room; other areas have neither.
// Cell i holds a slot and, in its last bytes, the code that the trap displaced. Entry i of the
// index leads the guard from the site's address to the address where the task continues. The two
// are enough to clean up after a tracer that died.
type area struct {
	addr        arch.Addr
	size        int
	cells       arch.Addr // of cell 0
	index       arch.Addr // of the chunk
	n           int       // number of cells
	used        int       // cells ever handed out; those below that are not in free are live
	free        []int
	sites       []*Site       // by cell, nil where free or a trampoline's
	trampolines []*trampoline // by cell
	spare       map[int][]int // first cells of free trampolines, by their length
}

const (
	cellSize  = 64
	cellCode  = 48 // bytes for the slot
	cellOrig  = 48 // displaced bytes, up to 8, then how many
	cellJump  = 57 // length of the jump, 0: a trap
	cellFirst = 58 // of a jump: its trampoline's first cell, relative to this one, 32 bits
	cellCount = 62 // how many cells that has
	cellBack  = 63 // of a jump: how far before the site it lies
	headSize  = 64
	stubRoom  = 2048
	pageSize  = 4096
	minCells  = 200
	maxCells  = 1 << 22

	headGuard = 16 // addr of the guard header, 0: none
	headCells = 24 // addr of cell 0
	headCount = 32 // number of cells
	headIndex = 40 // addr of the chunk
	headBytes = 48 // size of the mapping
)

var magic = []byte("ptracer\x00slots\x00\x01\x00")

// layout computes the addresses of the parts of an area for n cells that follows a first part of
// prefix bytes.
func layout(addr arch.Addr, prefix, n int) *area {
	cells := firstCell(prefix)
	return &area{addr: addr, size: sizeOf(prefix, n), n: n, sites: make([]*Site, n), trampolines: make([]*trampoline, n),
		cells: addr + arch.Addr(cells), index: addr + arch.Addr(cells+n*cellSize)}
}

func firstCell(prefix int) int { return roundUp(headSize+prefix, cellSize) }

// sizeOf is the size of an area in bytes.
func sizeOf(prefix, n int) int {
	return roundUp(firstCell(prefix)+n*cellSize+arch.ChunkHead+n*arch.EntrySize, pageSize)
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

func (a *area) cell(i int) arch.Addr { return a.cells + arch.Addr(i*cellSize) }

func (a *area) entry(i int) arch.Addr {
	return a.index + arch.ChunkHead + arch.Addr(i*arch.EntrySize)
}

func (a *area) contains(pc arch.Addr) bool { return pc >= a.addr && pc < a.addr+arch.Addr(a.size) }

// header is the area's first bytes.
func (a *area) header(guard arch.Addr) []byte {
	h := make([]byte, headSize)
	copy(h, magic)
	binary.LittleEndian.PutUint64(h[headGuard:], uint64(guard))
	binary.LittleEndian.PutUint64(h[headCells:], uint64(a.cells))
	binary.LittleEndian.PutUint64(h[headCount:], uint64(a.n))
	binary.LittleEndian.PutUint64(h[headIndex:], uint64(a.index))
	binary.LittleEndian.PutUint64(h[headBytes:], uint64(a.size))
	return h
}

// readHeader recognises an area of this tracer or of a dead one.
func readHeader(mem Memory, addr arch.Addr) (a *area, guard arch.Addr, ok bool) {
	h := make([]byte, headSize)
	if mem.Read(addr, h) != nil || !bytes.HasPrefix(h, magic) {
		return nil, 0, false
	}
	word := func(off int) arch.Addr { return arch.Addr(binary.LittleEndian.Uint64(h[off:])) }
	n, size := uint64(word(headCount)), uint64(word(headBytes))
	cells, index := uint64(word(headCells)-addr), uint64(word(headIndex)-addr)
	if n == 0 || n > maxCells || cells < headSize || cells > size || index != cells+n*cellSize ||
		size != uint64(roundUp(int(index)+arch.ChunkHead+int(n)*arch.EntrySize, pageSize)) {
		return nil, 0, false
	}
	if end := make([]byte, 1); mem.Read(addr+arch.Addr(size-1), end) != nil {
		return nil, 0, false
	}
	return &area{addr: addr, size: int(size), n: int(n), cells: word(headCells), index: word(headIndex)}, word(headGuard), true
}

// SizeAt returns the size in bytes of the area or library that begins at addr, whether this tracer or a dead one
// made it; 0 if neither begins there.
func SizeAt(mem Memory, addr arch.Addr) int {
	if a, _, ok := readHeader(mem, addr); ok {
		return a.size
	}
	l, _ := readLibrary(mem, addr)
	return l.size
}

// take hands out a cell, or -1 if the area is full.
func (a *area) take() int {
	if k := len(a.free); k > 0 {
		i := a.free[k-1]
		a.free = a.free[:k-1]
		return i
	}
	if a.used == a.n {
		return -1
	}
	a.used++
	return a.used - 1
}

// room reports whether n free cells in a row are available.
func (a *area) room(n int) bool {
	return a.used+n <= a.n || n == 1 && len(a.free) > 0 || len(a.spare[n]) > 0
}

// takeCells hands out n cells in a row, or -1.
func (a *area) takeCells(n int) int {
	if k := len(a.spare[n]); k > 0 {
		i := a.spare[n][k-1]
		a.spare[n] = a.spare[n][:k-1]
		return i
	}
	if a.used+n > a.n {
		return -1
	}
	a.used += n
	return a.used - n
}

func (a *area) giveCells(i, n int) {
	if a.spare == nil {
		a.spare = map[int][]int{}
	}
	for k := i; k < i+n; k++ {
		a.trampolines[k] = nil
	}
	a.spare[n] = append(a.spare[n], i)
}

func (a *area) give(i int) {
	a.sites[i] = nil
	a.free = append(a.free, i)
}
