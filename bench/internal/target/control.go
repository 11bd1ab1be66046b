package target

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// The control block is memory that the program shares with who runs it, at a
// fixed address in the program. Its words are 64 bits wide.
const (
	controlAddr = 0x70000000 // above where a heap may begin, below 2 GiB
	stackAddr   = 0x71000000 // of the threads' stacks
	stackSize   = 32 << 10   // a signal's frame may have 11 KB of vector registers

	offThreads  = 0   // how many there are, the first one included
	offGoStack  = 16  // where Go's functions find their stack's end: 0
	offEpoch    = 24  // grows with each order; the threads sleep on it
	offGate     = 32  // threads that stand ready
	offFinished = 40  // threads that are through; the first one sleeps on it
	offStop     = 48  // not 0: spinning ends
	offTrap     = 56  // not 0: the program is to have a handler of SIGTRAP, which
	offResume   = 64  // goes on there
	offTrapped  = 72  // and counts here
	offActive   = 80  // threads that the order is for
	offByte     = 88  // what is read and written
	offAction   = 96  // struct sigaction, 4 words
	offAlone    = 128 // not 0: the first thread answers without waiting for the others
	offLibc     = 136 // not 0: the thread pointer is a C library's
	offPatched  = 192 // what code that is jumped to counts
	offSlots    = 256
	slotSize    = 128

	// Words of a slot, one for each thread.
	slotFunction = 0 // what it calls, 0: nothing
	slotCount    = 8 // so often
	slotStride   = 16
	slotStart    = 24 // struct timespec: before the first call
	slotEnd      = 40 // behind the last
	slotGap      = 56 // the longest time between two looks at the clock, ns
	slotNow      = 64 // struct timespec
	slotLast     = 80 // ns
	slotThread   = 96 // where the thread pointer points to: a word that says so itself, as C libraries have it
)

// MaxThreads is how many threads a Process can have.
const MaxThreads = 2000

const controlSize = (offSlots + MaxThreads*slotSize + 0xffff) &^ 0xffff

// controlBlock is the memory as this process has it.
type controlBlock []byte

func (c controlBlock) word(off int) *uint64 { return (*uint64)(unsafe.Pointer(&c[off])) }

// set and get are atomic: the program reads and writes at the same time.
func (c controlBlock) set(off int, v uint64) { atomic.StoreUint64(c.word(off), v) }
func (c controlBlock) get(off int) uint64    { return atomic.LoadUint64(c.word(off)) }

// slot is the offset of a thread's part.
func (c controlBlock) slot(thread int) int { return offSlots + thread*slotSize }

// time is a struct timespec in ns.
func (c controlBlock) time(off int) int64 {
	sec, nsec := binary.LittleEndian.Uint64(c[off:]), binary.LittleEndian.Uint64(c[off+8:])
	return int64(sec)*1e9 + int64(nsec)
}
