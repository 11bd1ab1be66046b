package interp

import (
	"sync/atomic"
	"unsafe"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// atomic executes an operation on memory that the traced program's threads and other processes use
// at the same time.
func (m *Machine) atomic(in program.Insn, pc int) (int, error) {
	n := in.Size()
	if in.Imm == program.AtomicLoad { // Src has the address here
		b, ok := m.aligned(m.r[in.Src]+uint64(int64(in.Off)), n)
		if !ok {
			return 0, m.fault(pc, "reads %d bytes at %#x", n, m.r[in.Src]+uint64(int64(in.Off)))
		}
		m.r[in.Dst] = loadAcquire(b)
		return pc + 1, nil
	}
	b, ok := m.aligned(m.r[in.Dst]+uint64(int64(in.Off)), n)
	if !ok {
		return 0, m.fault(pc, "writes %d bytes at %#x", n, m.r[in.Dst]+uint64(int64(in.Off)))
	}
	if in.Imm == program.AtomicStore {
		storeRelease(b, m.r[in.Src])
		return pc + 1, nil
	}
	if n < 4 {
		return 0, m.fault(pc, "unknown atomic operation %#x", in.Imm)
	}
	old, ok := m.exchange(b, in)
	if !ok {
		return 0, m.fault(pc, "unknown atomic operation %#x", in.Imm)
	}
	switch {
	case in.Imm == program.AtomicCmpXchg:
		m.r[program.R0] = old
	case in.Imm&program.AtomicFetch != 0:
		m.r[in.Src] = old
	}
	return pc + 1, nil
}

func (m *Machine) aligned(addr uint64, n int) ([]byte, bool) {
	b, ok := m.at(addr, n)
	return b, ok && uintptr(unsafe.Pointer(&b[0]))%uintptr(n) == 0
}

// exchange changes 4 or 8 bytes and returns the old value.
func (m *Machine) exchange(b []byte, in program.Insn) (old uint64, ok bool) {
	src := m.r[in.Src]
	op := uint8(in.Imm) &^ program.AtomicFetch
	for {
		old = load(b)
		next := src
		switch {
		case in.Imm == program.AtomicCmpXchg:
			if want := m.r[program.R0]; want != old && (len(b) == 8 || uint32(want) != uint32(old)) {
				return old, true
			}
		case in.Imm == program.AtomicXchg:
		case op == program.AluAdd, op == program.AluOr, op == program.AluAnd, op == program.AluXor:
			next, _ = operate(op, old, src, 0, 64)
		default:
			return 0, false
		}
		if swapped(b, old, next) {
			return old, true
		}
	}
}

func load(b []byte) uint64 {
	if len(b) == 8 {
		return atomic.LoadUint64((*uint64)(unsafe.Pointer(&b[0])))
	}
	return uint64(atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[0]))))
}

func swapped(b []byte, old, next uint64) bool {
	if len(b) == 8 {
		return atomic.CompareAndSwapUint64((*uint64)(unsafe.Pointer(&b[0])), old, next)
	}
	return atomic.CompareAndSwapUint32((*uint32)(unsafe.Pointer(&b[0])), uint32(old), uint32(next))
}

// loadAcquire and storeRelease access the 4 bytes around a value of 1 or 2 bytes, since Go has no
// smaller atomic operations.
func loadAcquire(b []byte) uint64 {
	if len(b) >= 4 {
		return load(b)
	}
	word, shift := around(b)
	return uint64(atomic.LoadUint32(word)) >> shift & mask(len(b))
}

func storeRelease(b []byte, v uint64) {
	switch len(b) {
	case 8:
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[0])), v)
	case 4:
		atomic.StoreUint32((*uint32)(unsafe.Pointer(&b[0])), uint32(v))
	default:
		word, shift := around(b)
		m := uint32(mask(len(b))) << shift
		for {
			old := atomic.LoadUint32(word)
			if atomic.CompareAndSwapUint32(word, old, old&^m|uint32(v)<<shift&m) {
				return
			}
		}
	}
}

func around(b []byte) (word *uint32, shift uint) {
	in := uintptr(unsafe.Pointer(&b[0])) % 4
	return (*uint32)(unsafe.Add(unsafe.Pointer(&b[0]), -int(in))), uint(in) * 8
}
