package target

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math"
)

// amd64 encodes instructions of x86-64.
type amd64 struct{ a *assembler }

func (amd64) machine() elf.Machine { return elf.EM_X86_64 }
func (amd64) pageSize() uint64     { return 4096 }
func (amd64) pad() []byte          { return []byte{0x90} }
func (amd64) loader() string       { return "/lib64/ld-linux-x86-64.so.2" }
func (amd64) globalData() uint32   { return uint32(elf.R_X86_64_GLOB_DAT) }
func (amd64) trap() []byte         { return []byte{0xcc} }

// amd64Regs are the numbers, rax (0) to r15, of the portable registers.
var amd64Regs = [...]byte{
	control: 14, index: 3, slot: 5, epoch: 12, function: 13, count: 15,
	arg0: 7, arg1: 6, arg2: 2, arg3: 10, arg4: 8, arg5: 9, result: 0,
}

var amd64Calls = map[string]uint32{
	"read": 0, "write": 1, "mmap": 9, "rt_sigaction": 13, "rt_sigreturn": 15, "sched_yield": 24,
	"clone": 56, "arch_prctl": 158, "getppid": 110, "futex": 202, "clock_gettime": 228, "exit_group": 231,
}

// between writes an instruction with two registers: op reg, rm.
func (s amd64) between(op byte, rm, r reg) {
	m, n := amd64Regs[rm], amd64Regs[r]
	s.a.bytes(0x48|n>>3<<2|m>>3, op, 0xc0|n&7<<3|m&7)
}

// memory writes an instruction with a register and a word in memory; rex has the width, n is the
// register's or the operation's number.
func (s amd64) memory(rex, op, n byte, base reg, off int) {
	m := amd64Regs[base]
	s.a.bytes(rex|n>>3<<2|m>>3, op, 0x80|n&7<<3|m&7)
	if m&7 == 4 {
		s.a.bytes(0x24) // these need a SIB byte without index
	}
	s.a.word(uint32(off))
}

func (s amd64) set(r reg, v uint64) {
	n := amd64Regs[r]
	if v <= math.MaxUint32 { // which the CPU zero-extends
		s.a.bytes(0x40|n>>3, 0xb8|n&7)
		s.a.word(uint32(v))
		return
	}
	s.a.bytes(0x48|n>>3, 0xb8|n&7)
	s.a.code = binary.LittleEndian.AppendUint64(s.a.code, v)
}

func (s amd64) move(to, from reg) { s.between(0x89, to, from) }
func (s amd64) add(r, other reg)  { s.between(0x01, r, other) }
func (s amd64) sub(r, other reg)  { s.between(0x29, r, other) }

func (s amd64) load(r, base reg, off int) {
	s.memory(0x48, 0x8b, amd64Regs[r], base, off)
}

func (s amd64) load32(r, base reg, off int) {
	s.memory(0x40, 0x8b, amd64Regs[r], base, off)
}

func (s amd64) store(base reg, off int, r reg) {
	s.memory(0x48, 0x89, amd64Regs[r], base, off)
}

func (s amd64) multiply(r reg, v uint32) {
	n := amd64Regs[r]
	s.a.bytes(0x48|n>>3<<2|n>>3, 0x69, 0xc0|n&7<<3|n&7)
	s.a.word(v)
}

func (s amd64) decrement(r reg) {
	n := amd64Regs[r]
	s.a.bytes(0x48|n>>3, 0xff, 0xc8|n&7)
}

// relative writes the distance to a label as the last field of an instruction.
func (s amd64) relative(label string) {
	s.a.word(0)
	s.a.refer(label, 0, 4)
}

func (s amd64) branchNotZero(to string) {
	s.a.bytes(0x0f, 0x85)
	s.relative(to)
}

func (s amd64) branch(c condition, r, other reg, to string) {
	s.between(0x39, r, other)
	s.a.bytes(0x0f, [...]byte{equal: 0x84, different: 0x85, below: 0x82, signedBelow: 0x8c}[c])
	s.relative(to)
}

func (s amd64) jump(to string) {
	s.a.bytes(0xe9)
	s.relative(to)
}

func (s amd64) jumpBack(to string) {
	s.a.bytes(0x68) // push, of an address below 2 GB
	s.a.word(uint32(s.a.addr(to)))
	s.ret()
}

func (s amd64) call(r reg) {
	n := amd64Regs[r]
	s.a.bytes(0x40|n>>3, 0xff, 0xd0|n&7)
}

func (s amd64) ret() { s.a.bytes(0xc3) }

func (s amd64) syscall(name string) {
	s.set(result, uint64(amd64Calls[name]))
	s.a.bytes(0x0f, 0x05)
}

func (s amd64) atomicIncrement(base reg, off int) {
	s.a.bytes(0xf0)
	s.memory(0x48, 0xff, 0, base, off)
}

func (s amd64) increment(off int) {
	s.a.bytes(0x48, 0xff, 0x04, 0x25) // incq of an absolute address
	s.a.word(uint32(controlAddr + off))
}

func (s amd64) addressOf(r reg, label string) {
	n := amd64Regs[r]
	s.a.bytes(0x48|n>>3<<2, 0x8d, n&7<<3|5)
	s.relative(label)
}

func (s amd64) clone(stack reg) {
	s.move(arg1, stack)
	s.set(arg0, cloneThread)
	for _, r := range []reg{arg2, arg3, arg4} {
		s.set(r, 0)
	}
	s.syscall("clone")
}

func (s amd64) threadPointer(r reg) {
	const setFS = 0x1002
	s.move(arg1, r)
	s.set(arg0, setFS)
	s.syscall("arch_prctl")
}

func (s amd64) trapReturn() {
	const rip = 168 // in struct ucontext: uc_mcontext.gregs[REG_RIP]
	s.set(result, controlAddr+offResume)
	s.load(result, result, 0)
	s.store(arg2, rip, result)
	s.ret()
}

func (amd64) patch(f fixup, code []byte, base, to uint64) error {
	d := int64(to) - int64(base) - int64(f.at) - 4
	if d != int64(int32(d)) {
		return fmt.Errorf("%#x is out of reach", to)
	}
	binary.LittleEndian.PutUint32(code[f.at:], uint32(d))
	return nil
}

func (amd64) jumpFrom(from, to uint64) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(to-from-5))
}
