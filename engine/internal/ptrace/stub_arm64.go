package ptrace

import (
	"debug/elf"
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

const (
	stubMachine = elf.EM_AARCH64
	stubExec    = 0x1c // offset of the part that executes
)

var stubCode = words(
	0xd2800000, // mov x0, #0
	0xd2800001, // mov x1, #0
	0xd2800002, // mov x2, #0
	0xd2800003, // mov x3, #0
	0xd2800928, // mov x8, #73   // ppoll
	0xd4000001, // svc #0
	0x17fffffa, // b .-24
	0xd10083ff, // sub sp, sp, #32
	0xd2800029, // mov x9, #1    // struct sigaction: SIG_IGN,
	0xa9007fe9, // stp x9, xzr, [sp]
	0xa9017fff, // stp xzr, xzr, [sp, #16]
	0xb4000193, // cbz x19, .+48 // the next signal to ignore
	0xdac0026a, // rbit x10, x19
	0xdac0114a, // clz x10, x10
	0xd100066b, // sub x11, x19, #1
	0x8a0b0273, // and x19, x19, x11
	0x91000540, // add x0, x10, #1
	0x910003e1, // mov x1, sp
	0xd2800002, // mov x2, #0
	0xd2800103, // mov x3, #8
	0xd28010c8, // mov x8, #134  // rt_sigaction
	0xd4000001, // svc #0
	0x17fffff5, // b .-44
	0x910083ff, // add sp, sp, #32
	0xd2800020, // mov x0, #1    // PR_SET_PDEATHSIG
	0xd2800001, // mov x1, #0
	0xd28014e8, // mov x8, #167  // prctl
	0xd4000001, // svc #0
	0xf94007e0, // ldr x0, [sp, #8] // argv[0]: the path
	0x910043e1, // add x1, sp, #16  // argv+1
	0xf94003e2, // ldr x2, [sp]     // argc
	0x8b020c22, // add x2, x1, x2, lsl #3
	0xd2801ba8, // mov x8, #221  // execve
	0xd4000001, // svc #0
	0x4b0003e0, // neg w0, w0
	0xd2800bc8, // mov x8, #94   // exit_group
	0xd4000001, // svc #0
)

func words(code ...uint32) (b []byte) {
	for _, w := range code {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

func stubGo(r *arch.Regs, pc, ignored uint64) { r[pcWord], r[19] = pc, ignored }

// stubSyscall is the offset of the stub's system call.
const stubSyscall = 20

// stubCall changes r so that the stub makes call nr with its system call instruction at pc.
func stubCall(r *arch.Regs, pc, nr uint64, args []uint64) {
	r[pcWord], r[8] = pc, nr
	copy(r[:3], args)
}

// stubResult is the return value of such a call.
func stubResult(r *arch.Regs) uint64 { return r[0] }
