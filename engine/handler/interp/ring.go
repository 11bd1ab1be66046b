package interp

import "github.com/ptracer/ptracer/engine/handler/program"

// Ring is implemented by maps that take records. Offsets are in the region; tid is the thread that
// writes the record.
type Ring interface {
	Reserve(size int, tid int) (off int, ok bool)
	Submit(off int)
	Discard(off int)
	Output(data []byte, tid int) bool
	// Contains reports whether a reserved record belongs to this ring.
	Contains(off int) bool
	// Query answers bpf_ringbuf_query.
	Query(what uint64) uint64
}

// Stacks is implemented by maps of stack traces. Put returns a stack's number, or a negative errno.
type Stacks interface {
	Put(addrs []uint64, flags uint64) int64
}

func (m *Machine) ring(r int) (Ring, bool) {
	t, ok := m.handle(r)
	if !ok {
		return nil, false
	}
	ring, ok := t.(Ring)
	return ring, ok
}

func (m *Machine) tid() int { return int(uint32(m.env.PIDTGID())) }

func (m *Machine) ringOutput() (uint64, bool) {
	ring, ok := m.ring(program.R1)
	if !ok {
		return 0, false
	}
	b, ok := m.mem(program.R2, m.r[program.R3])
	if !ok {
		return 0, false
	}
	if !ring.Output(b, m.tid()) {
		return errno(eAgain), true
	}
	return 0, true
}

func (m *Machine) perfOutput() (uint64, bool) {
	ring, ok := m.ring(program.R2)
	if !ok {
		return 0, false
	}
	b, ok := m.mem(program.R4, m.r[program.R5])
	if !ok {
		return 0, false
	}
	if !ring.Output(b, m.tid()) {
		return errno(eNoSpc), true
	}
	return 0, true
}

func (m *Machine) ringReserve() (uint64, bool) {
	ring, ok := m.ring(program.R1)
	if !ok || m.r[program.R2] > partMask {
		return 0, false
	}
	if m.r[program.R3] != 0 {
		return 0, true
	}
	off, ok := ring.Reserve(int(m.r[program.R2]), m.tid())
	if !ok {
		return 0, true
	}
	return shmBase + uint64(off), true
}

// record returns the ring that the record in R1 was reserved in.
func (m *Machine) record() (Ring, int, bool) {
	off := m.r[program.R1] - shmBase
	if off >= uint64(len(m.code.shm)) {
		return nil, 0, false
	}
	for _, t := range m.code.maps {
		if ring, ok := t.(Ring); ok && ring.Contains(int(off)) {
			return ring, int(off), true
		}
	}
	return nil, 0, false
}

func (m *Machine) ringSubmit() (uint64, bool) {
	ring, off, ok := m.record()
	if ok {
		ring.Submit(off)
	}
	return 0, ok
}

func (m *Machine) ringDiscard() (uint64, bool) {
	ring, off, ok := m.record()
	if ok {
		ring.Discard(off)
	}
	return 0, ok
}

func (m *Machine) ringQuery() (uint64, bool) {
	ring, ok := m.ring(program.R1)
	if !ok {
		return 0, false
	}
	return ring.Query(m.r[program.R2]), true
}

// getStackID stores the thread's stack and returns its number.
func (m *Machine) getStackID() (uint64, bool) {
	t, ok := m.handle(program.R2)
	if !ok {
		return 0, false
	}
	stacks, ok := t.(Stacks)
	if !ok {
		return 0, false
	}
	flags := m.r[program.R3]
	if flags&userStack == 0 {
		return errno(eInval), true
	}
	addrs := m.walk(flags)
	if len(addrs) == 0 {
		return errno(eFault), true
	}
	return uint64(stacks.Put(addrs, flags)), true
}
