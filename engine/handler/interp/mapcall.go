package interp

import (
	"errors"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Maps are a program's maps; their values lie in one region of memory.
type Maps interface {
	Bytes() []byte
	Len() int
	Map(i int) Map
}

// Map is a map of a program. An error with a method Errno() int makes the program see that number.
type Map interface {
	Spec() program.Map
	// Lookup returns the offset of a value in the region.
	Lookup(key []byte, cpu int) (off int, ok bool)
	Update(key, value []byte, flags uint64, cpu int) error
	Delete(key []byte) error
}

// handle returns the map that register r stands for.
func (m *Machine) handle(r int) (Map, bool) {
	i := m.r[r] - mapBase
	if i >= uint64(len(m.code.maps)) {
		return nil, false
	}
	return m.code.maps[i], true
}

// keyed returns the map in R1 and the key in R2.
func (m *Machine) keyed() (t Map, key []byte, ok bool) {
	if t, ok = m.handle(program.R1); !ok {
		return nil, nil, false
	}
	key, ok = m.mem(program.R2, uint64(t.Spec().KeySize))
	return t, key, ok
}

func (m *Machine) mapLookup() (uint64, bool) {
	t, key, ok := m.keyed()
	if !ok {
		return 0, false
	}
	off, found := t.Lookup(key, own)
	if !found {
		return 0, true
	}
	return shmBase + uint64(off), true
}

// own selects the value that the interpreter uses in a per-CPU map, by the number that maps have
// for it (maps.Engine). Runs in the engine follow each other, so that one value suffices; reading
// where the thread last ran would cost more than the rest of a hit.
const own = -2

func (m *Machine) mapUpdate() (uint64, bool) {
	t, key, ok := m.keyed()
	if !ok {
		return 0, false
	}
	value, ok := m.mem(program.R3, uint64(t.Spec().ValueSize))
	if !ok {
		return 0, false
	}
	return result(t.Update(key, value, m.r[program.R4], own)), true
}

func (m *Machine) mapDelete() (uint64, bool) {
	t, key, ok := m.keyed()
	if !ok {
		return 0, false
	}
	return result(t.Delete(key)), true
}

// result converts an error into the kernel's return value.
func result(err error) uint64 {
	if err == nil {
		return 0
	}
	var e interface{ Errno() int }
	if errors.As(err, &e) {
		return errno(-int64(e.Errno()))
	}
	return errno(eInval)
}
