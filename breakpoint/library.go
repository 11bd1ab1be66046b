package breakpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// A library is code that trampolines call, in a mapping of its own: a header, then the code. A task
// in a library counts as inside a trampoline, since it returns there.
type library struct {
	addr arch.Addr
	size int
	puns bool // it has veneers
}

const (
	libHead  = 64
	libBytes = 16 // size of the mapping
)

var libMagic = []byte("ptracer\x00calls\x00\x01\x00")

func (l library) contains(pc arch.Addr) bool {
	return pc >= l.addr && pc < l.addr+arch.Addr(l.size)
}

// AddLibrary maps code near an address. make returns the code for the address that it is given; the
// code's length may vary a little with the address.
func (t *room) AddLibrary(near arch.Addr, make func(at arch.Addr) ([]byte, error)) error {
	const slack = 256
	code, err := make(near)
	if err != nil {
		return err
	}
	l := library{size: roundUp(libHead+len(code)+slack, pageSize)}
	if l.addr, err = t.mapper.Map(near, l.size); err != nil {
		return fmt.Errorf("room for code near %s: %w", near, err)
	}
	if code, err = make(l.addr + libHead); err != nil {
		return err
	}
	if libHead+len(code) > l.size {
		return fmt.Errorf("code of %d bytes near %s has become %d", l.size, near, len(code))
	}
	if err = t.addLibrary(l); err == nil {
		err = t.mem.Write(l.addr+libHead, code)
	}
	return err
}

// addLibrary records a mapping, in the table and in the mapping itself.
func (t *room) addLibrary(l library) error {
	t.libs = append(t.libs, l)
	return t.mem.Write(l.addr, binary.LittleEndian.AppendUint64(bytes.Clone(libMagic), uint64(l.size)))
}

// readLibrary recognises a library of this tracer or of a dead one.
func readLibrary(mem Memory, addr arch.Addr) (l library, ok bool) {
	var h [libBytes + 8]byte
	if mem.Read(addr, h[:]) != nil || !bytes.HasPrefix(h[:], libMagic) {
		return l, false
	}
	size := binary.LittleEndian.Uint64(h[libBytes:])
	if size == 0 || size%pageSize != 0 || size > 1<<24 || mem.Read(addr+arch.Addr(size-1), h[:1]) != nil {
		return l, false
	}
	return library{addr: addr, size: int(size)}, true
}

// RemoveLibrary forgets the mapping that an address is in; nothing may lead there any more, and no
// task may be inside. The caller unmaps it.
func (t *room) RemoveLibrary(at arch.Addr) (addr arch.Addr, size int, ok bool) {
	for i, l := range t.libs {
		if l.contains(at) && !l.puns {
			t.libs = slices.Delete(t.libs, i, i+1)
			return l.addr, l.size, true
		}
	}
	return 0, 0, false
}
