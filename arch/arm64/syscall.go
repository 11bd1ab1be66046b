package arm64

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

var errState = errors.New("floating point state is not 528 bytes")

const nrSigreturn = 139 // __NR_rt_sigreturn

// The kernel's struct rt_sigframe, as far as SyscallCode writes it: struct siginfo (128 bytes),
// which rt_sigreturn does not read; struct ucontext (asm/ucontext.h); in it struct sigcontext
// (asm/sigcontext.h), which ends in space for records. rt_sigreturn reads those up to the empty
// one, and checks the rest of the frame only for lying in user space (restore_sigframe and
// parse_user_sigframe in arch/arm64/kernel/signal.c). An uc_stack without a size keeps the
// alternate signal stack.
const (
	frameContext = 128                 // struct ucontext
	frameSigMask = frameContext + 40   // behind uc_flags, uc_link, uc_stack
	frameMachine = frameContext + 176  // struct sigcontext: the mask has room for 1024 bits
	frameRegs    = frameMachine + 8    // in the order of arch.Regs, behind fault_address
	framePC      = frameRegs + 8*regPC // for Next
	frameRecords = frameMachine + 288  // aligned to 16
	frameEmpty   = frameRecords + fpRecordLen
	frameLen     = frameEmpty + 16

	// struct fpsimd_context: magic, size, fpsr, fpcr, then the registers.
	fpRecordMagic = 0x46508001
	fpRecordLen   = 528

	// The result of ptrace (struct user_fpsimd_state): the registers, fpsr, fpcr, 8 unused bytes.
	fpRegsLen  = 512
	fpStateLen = 528
)

// SyscallCode writes svc, and behind it an rt_sigreturn with a signal frame that holds st: no
// instruction jumps without a register, but rt_sigreturn sets all registers, and the signal mask
// and the vector registers besides. The code is in the part of the frame that is not read, so that
// the stub's start, the stack pointer while it runs and the frame are one address.
//
// At system call stops the kernel shows 0 or 1 in x7, and restores its old value behind them,
// whatever the tracer has written (report_syscall_exit in arch/arm64/kernel/ptrace.c). The stub
// starts with st's x7, so that x7 is right also for a tracer that sets st.Regs at the exit stop.
//
// All signals must be blocked while the stub runs: a handler's frame would be written below that
// stack pointer, where there is no stack. The rt_sigreturn puts st.SigMask in force again.
//
// rt_sigreturn does not restore two things, so a live tracer sets the registers itself instead of
// letting it run: an interrupted system call that continues through restart_syscall ends with EINTR
// instead, and SVE registers lose the part above their 128 bits of FP (as in every system call).
func (a isa) SyscallCode(b *arch.Buffer, st *arch.CallState, nr uint64, args [6]uint64) (arch.Regs, error) {
	if len(st.FP) != fpStateLen {
		return arch.Regs{}, fmt.Errorf("arm64: system call stub: %w: %d", errState, len(st.FP))
	}
	for b.PC()%16 != 0 {
		b.Bytes(0)
	}
	regs := a.Restarted(&st.Regs)
	start, frame := b.PC(), make([]byte, frameLen)
	put32(frame[0:], svc)
	put32(frame[4:], movX8Sigreturn)
	put32(frame[8:], svc)
	put64(frame[frameSigMask:], st.SigMask)
	for i, v := range regs {
		put64(frame[frameRegs+8*i:], v)
	}
	putFP(frame[frameRecords:], st.FP)
	b.Bytes(frame...)

	copy(regs[:], args[:])
	regs[regX8] = nr
	regs[regPC], regs[regSP] = uint64(start), uint64(start)
	regs[regPState] &^= pstateBType
	return regs, nil
}

// putFP converts the result of ptrace into a record of a signal frame.
func putFP(record, state []byte) {
	put32(record[0:], fpRecordMagic)
	put32(record[4:], fpRecordLen)
	copy(record[8:16], state[fpRegsLen:])
	copy(record[16:], state[:fpRegsLen])
}

func put64(p []byte, v uint64) { binary.LittleEndian.PutUint64(p, v) }

// Restarted returns r unchanged: the kernel moves the PC back to the svc, and sets x0 to the first
// argument, before a tracer sees the stop (do_signal in arch/arm64/kernel/signal.c), not behind it
// as on amd64. A call that continues as restart_syscall looks the same, and the kernel puts that
// number into x8 only if the tracer does not change the PC. A tracer that makes a system call at
// such a stop must set x8 itself; it finds out by running the task to the call's entry.
func (isa) Restarted(r *arch.Regs) arch.Regs { return *r }
