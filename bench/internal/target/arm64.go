package target

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// arm64 encodes instructions of A64.
type arm64 struct{ a *assembler }

func (arm64) machine() elf.Machine { return elf.EM_AARCH64 }
func (arm64) pageSize() uint64     { return 64 << 10 }
func (arm64) pad() []byte          { return []byte{0x1f, 0x20, 0x03, 0xd5} }
func (arm64) loader() string       { return "/lib/ld-linux-aarch64.so.1" }
func (arm64) globalData() uint32   { return uint32(elf.R_AARCH64_GLOB_DAT) }
func (arm64) trap() []byte         { return []byte{0x00, 0x00, 0x20, 0xd4} }

// arm64Regs are the numbers of the portable registers. x8, x9, x16 and x17 are scratch registers
// inside one portable instruction.
var arm64Regs = [...]uint32{
	control: 28, index: 19, slot: 20, epoch: 21, function: 22, count: 23,
	arg0: 0, arg1: 1, arg2: 2, arg3: 3, arg4: 4, arg5: 5, result: 0,
}

var arm64Calls = map[string]uint32{
	"read": 63, "write": 64, "futex": 98, "exit_group": 94, "clock_gettime": 113, "sched_yield": 124,
	"rt_sigaction": 134, "rt_sigreturn": 139, "getppid": 173, "clone": 220, "mmap": 222,
}

// Kinds of fixups, by the field that they fill in.
const (
	branch26 = iota
	branch19
	address21
)

// number loads a constant.
func (s arm64) number(n uint32, v uint64) {
	op := uint32(0xd2800000) // movz for the first part that is not 0, movk for the others
	for i := range uint32(4) {
		if part := uint32(v >> (16 * i) & 0xffff); part != 0 || i == 3 && op == 0xd2800000 {
			s.a.word(op | i<<21 | part<<5 | n)
			op = 0xf2800000
		}
	}
}

// between writes an instruction with three registers: d = n op m.
func (s arm64) between(op, d, n, m uint32) { s.a.word(op | m<<16 | n<<5 | d) }

func (s arm64) set(r reg, v uint64) { s.number(arm64Regs[r], v) }

func (s arm64) move(to, from reg) {
	s.between(0xaa000000, arm64Regs[to], 31, arm64Regs[from])
}

func (s arm64) add(r, other reg) {
	s.between(0x8b000000, arm64Regs[r], arm64Regs[r], arm64Regs[other])
}

func (s arm64) sub(r, other reg) {
	s.between(0xcb000000, arm64Regs[r], arm64Regs[r], arm64Regs[other])
}

// memory writes a load or store of a register, with an offset scaled by its size.
func (s arm64) memory(op, r, base uint32, off, size int) {
	s.a.word(op | uint32(off/size)<<10 | base<<5 | r)
}

func (s arm64) load(r, base reg, off int) {
	s.memory(0xf9400000, arm64Regs[r], arm64Regs[base], off, 8)
}

func (s arm64) load32(r, base reg, off int) {
	s.memory(0xb9400000, arm64Regs[r], arm64Regs[base], off, 4)
}

func (s arm64) store(base reg, off int, r reg) {
	s.memory(0xf9000000, arm64Regs[r], arm64Regs[base], off, 8)
}

func (s arm64) multiply(r reg, v uint32) {
	s.number(16, uint64(v))
	s.between(0x9b007c00, arm64Regs[r], arm64Regs[r], 16)
}

func (s arm64) decrement(r reg) {
	n := arm64Regs[r]
	s.a.word(0xf1000400 | n<<5 | n) // subs
}

func (s arm64) refer(op uint32, kind int, label string) {
	s.a.word(op)
	s.a.refer(label, kind, 4)
}

func (s arm64) branchNotZero(to string) { s.refer(0x54000001, branch19, to) }

func (s arm64) branch(c condition, r, other reg, to string) {
	s.between(0xeb000000, 31, arm64Regs[r], arm64Regs[other]) // cmp
	s.refer(0x54000000|[...]uint32{equal: 0, different: 1, below: 3, signedBelow: 11}[c], branch19, to)
}

func (s arm64) jumpBack(to string) { s.jump(to) } // it leads behind all displaced instructions
func (s arm64) jump(to string)     { s.refer(0x14000000, branch26, to) }
func (s arm64) call(r reg)         { s.a.word(0xd63f0000 | arm64Regs[r]<<5) }
func (s arm64) ret()               { s.a.word(0xd65f03c0) }

func (s arm64) syscall(name string) {
	s.number(8, uint64(arm64Calls[name]))
	s.a.word(0xd4000001)
}

func (s arm64) atomicIncrement(base reg, off int) {
	s.a.word(0x91000000 | uint32(off)<<10 | arm64Regs[base]<<5 | 16) // add x16, base, #off
	s.a.word(0xc85ffe11)                                             // ldaxr x17, [x16]
	s.a.word(0x91000631)                                             // add x17, x17, #1
	s.a.word(0xc809fe11)                                             // stlxr w9, x17, [x16]
	s.a.word(0x35ffffa9)                                             // cbnz w9, .-12
}

func (s arm64) increment(off int) {
	s.number(16, controlAddr)
	s.memory(0xf9400000, 17, 16, off, 8)
	s.a.word(0x91000631) // add x17, x17, #1
	s.memory(0xf9000000, 17, 16, off, 8)
}

func (s arm64) addressOf(r reg, label string) {
	s.refer(0x10000000|arm64Regs[r], address21, label)
}

func (s arm64) clone(stack reg) {
	s.move(arg1, stack)
	s.set(arg0, cloneThread)
	for _, r := range []reg{arg2, arg3, arg4} {
		s.set(r, 0)
	}
	s.syscall("clone")
}

func (s arm64) threadPointer(r reg) {
	s.a.word(0xd51bd040 | arm64Regs[r]) // msr tpidr_el0
}

func (s arm64) trapReturn() {
	const pc = 440 // in struct ucontext: uc_mcontext.pc
	s.number(16, controlAddr)
	s.memory(0xf9400000, 17, 16, offResume, 8)
	s.memory(0xf9000000, 17, 2, pc, 8)
	s.ret()
}

func (arm64) patch(f fixup, code []byte, base, to uint64) error {
	d := int64(to) - int64(base) - int64(f.at)
	w := binary.LittleEndian.Uint32(code[f.at:])
	bits := [...]uint{branch26: 28, branch19: 21, address21: 21}[f.kind]
	if d>>(bits-1) != d>>63 {
		return fmt.Errorf("%#x is out of reach", to)
	}
	switch f.kind {
	case branch26:
		w |= uint32(d>>2) & (1<<26 - 1)
	case branch19:
		w |= uint32(d>>2) & (1<<19 - 1) << 5
	case address21:
		w |= uint32(d)&3<<29 | uint32(d>>2)&(1<<19-1)<<5
	}
	binary.LittleEndian.PutUint32(code[f.at:], w)
	return nil
}

func (arm64) jumpFrom(from, to uint64) []byte {
	return binary.LittleEndian.AppendUint32(nil, 0x14000000|uint32(to-from)>>2&(1<<26-1))
}
