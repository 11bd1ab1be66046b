package interp

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// maxStack is the largest number of return addresses.
const maxStack = 127

// Flags of get_stack and get_stackid (uapi/linux/bpf.h).
const (
	skipMask  = 0xff
	userStack = 1 << 8
)

// walk returns the thread's return addresses, without those that the flags skip.
func (m *Machine) walk(flags uint64) []uint64 {
	n := m.env.Stack(m.addrs[:])
	return m.addrs[min(int(flags&skipMask), n):n]
}

// getStack writes return addresses, and returns the number of bytes written.
func (m *Machine) getStack() (uint64, bool) {
	size, flags := uint64(uint32(m.r[program.R3])), m.r[program.R4]
	b, ok := m.mem(program.R2, size)
	if !ok {
		return 0, false
	}
	if flags&^(skipMask|userStack) != 0 || flags&userStack == 0 || len(b)%8 != 0 {
		clear(b)
		return errno(eInval), true
	}
	addrs := m.walk(flags)
	addrs = addrs[:min(len(addrs), len(b)/8)]
	for i, a := range addrs {
		binary.LittleEndian.PutUint64(b[8*i:], a)
	}
	clear(b[8*len(addrs):])
	return uint64(8 * len(addrs)), true
}
