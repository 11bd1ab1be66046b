package maps

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/ptracer/ptracer/engine/handler/ring"
)

// stacks is a map of stack traces, each with a number. A room has a word, the head, and addresses.
// The head is 0 if the room is free, otherwise
const (
	stackHash  = 1<<32 - 1 // hash of the addresses, never 0
	stackBusy  = 1 << 63   // a thread is writing the addresses
	countShift = 32        // the number of addresses
	countMask  = 1<<16 - 1
)

type stacks Map

// Flags of Put, the kernel's.
const (
	FastStackCompare = 1 << 9  // stacks with the same hash count as equal
	ReuseStackID     = 1 << 10 // the last stack replaces the one in its room
)

// rooms is how many rooms a stack may be in: the kernel has one.
const rooms = 8

// patience is how often a room that is being written is checked.
const patience = 1000

func (s *stacks) head(i int) *atomic.Uint64 { return ring.Word(s.b, s.data+i*s.stride-8) }

// Put stores a stack and returns its number, or the kernel's negative errno. Of a stack that is too
// long it stores the first addresses.
func (m *Map) Put(addrs []uint64, flags uint64) int64 {
	s, ok := m.table.(*stacks)
	if !ok || len(addrs) == 0 {
		return -int64(ErrInvalid)
	}
	addrs = addrs[:min(len(addrs), int(m.spec.ValueSize)/8)]
	want := uint64(len(addrs))<<countShift | hashStack(addrs)
	first := int(want) & (m.entries - 1)
	for k := range min(rooms, m.entries) {
		i := (first + k) & (m.entries - 1)
		if s.try(i, want, addrs, flags) {
			return int64(i)
		}
	}
	if flags&ReuseStackID != 0 && s.write(first, s.head(first).Load()&^stackBusy, want, addrs) {
		return int64(first)
	}
	_ = m.refuse(ErrExists)
	return -int64(ErrExists)
}

// try reports whether room i has the stack, which it may have stored there itself.
func (s *stacks) try(i int, want uint64, addrs []uint64, flags uint64) bool {
	for range patience {
		switch have := s.head(i).Load(); {
		case have == 0:
			if s.write(i, 0, want, addrs) {
				return true
			}
		case have == want:
			return flags&FastStackCompare != 0 || s.equal(i, addrs)
		case have != want|stackBusy:
			return false
		}
	}
	return false
}

// write stores a stack in room i, if the room's head is still was.
func (s *stacks) write(i int, was, want uint64, addrs []uint64) bool {
	if !s.head(i).CompareAndSwap(was, want|stackBusy) {
		return false
	}
	at := s.data + i*s.stride
	for k := range int(s.spec.ValueSize) / 8 {
		v := uint64(0)
		if k < len(addrs) {
			v = addrs[k]
		}
		ring.Word(s.b, at+8*k).Store(v)
	}
	s.head(i).Store(want)
	return true
}

func (s *stacks) equal(i int, addrs []uint64) bool {
	for k, a := range addrs {
		if ring.Word(s.b, s.data+i*s.stride+8*k).Load() != a {
			return false
		}
	}
	return true
}

func hashStack(addrs []uint64) uint64 {
	h := uint64(len(addrs))
	for _, a := range addrs {
		h = (h ^ a) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	return max(h&stackHash, 1)
}

func (s *stacks) lookup(key []byte, _ int) (int, bool) {
	i := binary.LittleEndian.Uint32(key)
	if int(i) >= s.entries {
		return 0, false
	}
	have := s.head(int(i)).Load()
	return s.data + int(i)*s.stride, have != 0 && have&stackBusy == 0
}

func (s *stacks) update([]byte, []byte, uint64, int) error { return ErrInvalid }

// delete frees a room.
func (s *stacks) delete(key []byte) error {
	i := binary.LittleEndian.Uint32(key)
	if int(i) >= s.entries {
		return ErrNotFound
	}
	have := s.head(int(i)).Load()
	if have == 0 || have&stackBusy != 0 || !s.head(int(i)).CompareAndSwap(have, 0) {
		return ErrNotFound
	}
	return nil
}

func (s *stacks) all(cpus []int, values [][]byte, yield func([]byte) bool) {
	key := make([]byte, 4)
	for i := range s.entries {
		have := s.head(i).Load()
		if have == 0 || have&stackBusy != 0 {
			continue
		}
		binary.LittleEndian.PutUint32(key, uint32(i))
		(*Map)(s).loadAll(i, cpus, values)
		if s.head(i).Load() == have && !yield(key) {
			return
		}
	}
}
