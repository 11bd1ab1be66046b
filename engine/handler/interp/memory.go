package interp

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// The private address space: each part has 64 GiB.
const (
	partShift = 36
	stackBase = 1 << partShift
	ctxBase   = 2 << partShift
	shmBase   = 3 << partShift // offsets in the maps' shared memory
	mapBase   = 4 << partShift // maps themselves, by index
	funcBase  = 5 << partShift // functions, by the index of their first instruction
	partMask  = 1<<partShift - 1
)

// at returns n bytes of memory that the program may access, except the context.
func (m *Machine) at(addr uint64, n int) ([]byte, bool) {
	var part []byte
	switch addr >> partShift {
	case stackBase >> partShift:
		part = m.stack[:]
	case shmBase >> partShift:
		part = m.code.shm
	}
	off := addr & partMask
	if n < 0 || off > uint64(len(part)) || uint64(n) > uint64(len(part))-off {
		return nil, false
	}
	return part[off : off+uint64(n) : off+uint64(n)], true
}

// word returns the register of the context that addr lies in, and the position in it.
func (m *Machine) word(addr uint64, n int) (reg *uint64, shift uint, ok bool) {
	off := addr - ctxBase
	if off >= uint64(m.code.ctx) || off%uint64(n) != 0 || off/8 >= arch.Words {
		return nil, 0, false
	}
	return &m.env.Regs()[off/8], uint(off%8) * 8, true
}

func (m *Machine) read(addr uint64, n int) (uint64, bool) {
	if addr>>partShift == ctxBase>>partShift {
		reg, shift, ok := m.word(addr, n)
		if !ok {
			return 0, false
		}
		return *reg >> shift & mask(n), true
	}
	b, ok := m.at(addr, n)
	if !ok {
		return 0, false
	}
	switch n {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(binary.LittleEndian.Uint16(b)), true
	case 4:
		return uint64(binary.LittleEndian.Uint32(b)), true
	}
	return binary.LittleEndian.Uint64(b), true
}

func (m *Machine) write(addr uint64, n int, v uint64) bool {
	if addr>>partShift == ctxBase>>partShift {
		reg, shift, ok := m.word(addr, n)
		if ok {
			*reg = *reg&^(mask(n)<<shift) | v&mask(n)<<shift
		}
		return ok
	}
	b, ok := m.at(addr, n)
	if !ok {
		return false
	}
	switch n {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	default:
		binary.LittleEndian.PutUint64(b, v)
	}
	return true
}

func mask(n int) uint64 { return 1<<(8*uint(n)-1)<<1 - 1 }

func (m *Machine) load(in program.Insn, pc int) (int, error) {
	addr := m.r[in.Src] + uint64(int64(in.Off))
	v, ok := m.read(addr, in.Size())
	switch mode := in.Op & program.ModeMask; {
	case !ok:
		return 0, m.fault(pc, "reads %d bytes at %#x", in.Size(), addr)
	case mode == program.ModeMemSX:
		v = extend(v, uint(8*in.Size()))
	case mode != program.ModeMem:
		return 0, m.fault(pc, "unknown load %#x", in.Op)
	}
	m.r[in.Dst] = v
	return pc + 1, nil
}

func (m *Machine) store(in program.Insn, pc int) (int, error) {
	addr := m.r[in.Dst] + uint64(int64(in.Off))
	if in.Op&program.ModeMask == program.ModeAtomic && in.Class() == program.ClassStx {
		return m.atomic(in, pc)
	}
	v := uint64(int64(in.Imm))
	if in.Class() == program.ClassStx {
		v = m.r[in.Src]
	}
	if in.Op&program.ModeMask != program.ModeMem || !m.write(addr, in.Size(), v) {
		return 0, m.fault(pc, "writes %d bytes at %#x", in.Size(), addr)
	}
	return pc + 1, nil
}

// wide executes a load of 64 bits: a constant, or a pointer to something of the program's.
func (m *Machine) wide(in program.Insn, pc int) (int, error) {
	if !in.Wide() || pc+1 >= len(m.code.insns) {
		return 0, m.fault(pc, "unknown load %#x", in.Op)
	}
	second := m.code.insns[pc+1].Imm
	var v uint64
	switch in.Src {
	case program.PseudoNone:
		v = uint64(uint32(in.Imm)) | uint64(uint32(second))<<32
	case program.PseudoFunc:
		v = funcBase + uint64(pc+1+int(in.Imm))
	case program.PseudoMap, program.PseudoMapValue:
		if uint(in.Imm) >= uint(len(m.code.maps)) {
			return 0, m.fault(pc, "there is no map %d", in.Imm)
		}
		v = mapBase + uint64(in.Imm)
		if in.Src == program.PseudoMapValue {
			var zero [4]byte
			off, ok := m.code.maps[in.Imm].Lookup(zero[:], 0)
			if !ok {
				return 0, m.fault(pc, "map %d has no value", in.Imm)
			}
			v = shmBase + uint64(off) + uint64(uint32(second))
		}
	default:
		return 0, m.fault(pc, "unknown kind of constant %d", in.Src)
	}
	m.r[in.Dst] = v
	return pc + 2, nil
}
