package ptrace

import (
	"debug/elf"

	"github.com/ptracer/ptracer/arch"
)

const (
	stubMachine = elf.EM_X86_64
	stubExec    = 9 // offset of the part that executes
)

var stubCode = []byte{
	0xb8, 0x22, 0x00, 0x00, 0x00, //       mov $34, %eax      # pause
	0x0f, 0x05, //                         syscall
	0xeb, 0xf7, //                         jmp .-7
	0x6a, 0x00, //                         push $0            # struct sigaction: mask,
	0x6a, 0x00, //                         push $0            # restorer,
	0x6a, 0x00, //                         push $0            # flags,
	0x6a, 0x01, //                         push $1            # SIG_IGN
	0x48, 0x89, 0xe6, //                   mov %rsp, %rsi
	0x31, 0xd2, //                         xor %edx, %edx
	0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov $8, %r10d
	0x48, 0x0f, 0xbc, 0xfb, //             bsf %rbx, %rdi     # the next signal to ignore
	0x74, 0x0f, //                         jz .+17
	0x48, 0x0f, 0xb3, 0xfb, //             btr %rdi, %rbx
	0xff, 0xc7, //                         inc %edi
	0xb8, 0x0d, 0x00, 0x00, 0x00, //       mov $13, %eax      # rt_sigaction
	0x0f, 0x05, //                         syscall
	0xeb, 0xeb, //                         jmp .-19
	0x48, 0x83, 0xc4, 0x20, //             add $32, %rsp
	0xb8, 0x9d, 0x00, 0x00, 0x00, //       mov $157, %eax     # prctl
	0xbf, 0x01, 0x00, 0x00, 0x00, //       mov $1, %edi       # PR_SET_PDEATHSIG
	0x31, 0xf6, //                         xor %esi, %esi
	0x0f, 0x05, //                         syscall
	0x48, 0x8b, 0x7c, 0x24, 0x08, //       mov 8(%rsp), %rdi  # argv[0]: the path
	0x48, 0x8d, 0x74, 0x24, 0x10, //       lea 16(%rsp), %rsi # argv+1
	0x48, 0x8b, 0x04, 0x24, //             mov (%rsp), %rax   # argc
	0x48, 0x8d, 0x14, 0xc6, //             lea (%rsi,%rax,8), %rdx
	0xb8, 0x3b, 0x00, 0x00, 0x00, //       mov $59, %eax      # execve
	0x0f, 0x05, //                         syscall
	0x89, 0xc7, //                         mov %eax, %edi
	0xf7, 0xdf, //                         neg %edi
	0xb8, 0xe7, 0x00, 0x00, 0x00, //       mov $231, %eax     # exit_group
	0x0f, 0x05, //                         syscall
}

func stubGo(r *arch.Regs, pc, ignored uint64) {
	const rbx, origRax, rip = 5, 15, 16
	r[origRax] = ^uint64(0) // not in a system call any more: nothing to restart
	r[rip], r[rbx] = pc, ignored
}

// stubSyscall is the offset of the stub's system call.
const stubSyscall = 5

// stubCall changes r so that the stub makes call nr with its system call instruction at pc.
func stubCall(r *arch.Regs, pc, nr uint64, args []uint64) {
	const rdi, rsi, rdx, rax, origRax, rip = 14, 13, 12, 10, 15, 16
	r[origRax] = ^uint64(0)
	r[rip], r[rax] = pc, nr
	for i, to := range []int{rdi, rsi, rdx}[:len(args)] {
		r[to] = args[i]
	}
}

// stubResult is the return value of such a call.
func stubResult(r *arch.Regs) uint64 { const rax = 10; return r[rax] }
