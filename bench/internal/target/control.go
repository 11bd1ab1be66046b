package target

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// The control block is memory that the program shares with the process that runs it, at a fixed
// address in the program. Its words have 64 bits.
const (
	controlAddr = 0x70000000 // above a possible start of the heap, below 2 GiB
	stackAddr   = 0x71000000 // of the threads' stacks
	stackSize   = 32 << 10   // a signal's frame may have 11 KB of vector registers

	offThreads  = 0   // number of threads, including the first
	offGoStack  = 16  // where Go's functions read their stack's end: 0
	offEpoch    = 24  // incremented with each order; threads sleep on it
	offGate     = 32  // number of ready threads
	offFinished = 40  // number of finished threads; the first one sleeps on it
	offStop     = 48  // not 0: spinning ends
	offTrap     = 56  // not 0: the program needs a handler of SIGTRAP, which
	offResume   = 64  // continues there
	offTrapped  = 72  // and counts here
	offActive   = 80  // number of threads for the order
	offByte     = 88  // the byte to read and write
	offAction   = 96  // struct sigaction, 4 words
	offAlone    = 128 // not 0: the first thread answers without waiting for the others
	offLibc     = 136 // not 0: the thread pointer is a C library's
	offPatched  = 192 // counter of the code that a patched jump leads to
	offSlots    = 256
	slotSize    = 128

	// Words of a slot, one slot per thread.
	slotFunction = 0 // the function to call, 0: none
	slotCount    = 8 // number of calls
	slotStride   = 16
	slotStart    = 24 // struct timespec: before the first call
	slotEnd      = 40 // behind the last call
	slotGap      = 56 // longest time between two reads of the clock, ns
	slotNow      = 64 // struct timespec
	slotLast     = 80 // ns
	slotThread   = 96 // target of the thread pointer: a word with its own address, as C libraries have it
)

// MaxThreads is the largest number of threads in a Process.
const MaxThreads = 2000

const controlSize = (offSlots + MaxThreads*slotSize + 0xffff) &^ 0xffff

// controlBlock is the memory as mapped in this process.
type controlBlock []byte

func (c controlBlock) word(off int) *uint64 { return (*uint64)(unsafe.Pointer(&c[off])) }

// set and get are atomic: the program accesses the words at the same time.
func (c controlBlock) set(off int, v uint64) { atomic.StoreUint64(c.word(off), v) }
func (c controlBlock) get(off int) uint64    { return atomic.LoadUint64(c.word(off)) }

// slot returns the offset of a thread's slot.
func (c controlBlock) slot(thread int) int { return offSlots + thread*slotSize }

// time returns a struct timespec in ns.
func (c controlBlock) time(off int) int64 {
	sec, nsec := binary.LittleEndian.Uint64(c[off:]), binary.LittleEndian.Uint64(c[off+8:])
	return int64(sec)*1e9 + int64(nsec)
}
