package amd64

import "github.com/ptracer/ptracer/arch"

// Values that an interrupted system call leaves in rax for the kernel's way back to user mode
// (include/linux/errno.h), where a tracer may see them.
const (
	erestartSys          = -512
	erestartNoIntr       = -513
	erestartNoHand       = -514
	erestartRestartBlock = -516

	sysRestartSyscall = 219
	syscallLen        = 2
)

// noSyscall in orig_rax keeps the kernel from restarting a call.
const noSyscall = ^uint64(0)

// syscallArgs are the registers of a system call's arguments. syscallSaved are the numbers of all
// registers that differ behind one: these, its result, and the two that the instruction itself
// overwrites.
var (
	syscallArgs  = [6]int{regRDI, regRSI, regRDX, regR10, regR8, regR9}
	syscallSaved = [9]byte{0, 1, 11, 7, 6, 2, 10, 8, 9}
)

// SyscallCode writes a stub that uses no stack and no flags. The kernel itself restarts an
// interrupted call in the stub.
func (isa) SyscallCode(b *arch.Buffer, st *arch.CallState, nr uint64, args [6]uint64) (arch.Regs, error) {
	back := restarted(&st.Regs)
	w := slotWriter{b: b, start: len(b.Code)}
	entry := back
	entry[regRIP] = uint64(b.PC())
	entry[regRAX] = nr
	entry[regOrigRAX] = noSyscall
	for i, reg := range syscallArgs {
		entry[reg] = args[i]
	}

	b.Bytes(0x0f, 0x05)
	for _, num := range syscallSaved {
		w.setReg(num, back[encoded[num]])
	}
	b.Bytes(opGroup5, group5Jmp<<3|numRBP)
	w.refer(back[regRIP])
	w.finish()
	return entry, nil
}

func (isa) Restarted(r *arch.Regs) arch.Regs { return restarted(r) }

func restarted(r *arch.Regs) arch.Regs {
	out := *r
	if int64(r[regOrigRAX]) < 0 {
		return out
	}
	switch int64(r[regRAX]) {
	case erestartSys, erestartNoIntr, erestartNoHand:
		out[regRAX] = r[regOrigRAX]
		out[regRIP] -= syscallLen
	case erestartRestartBlock:
		out[regRAX] = sysRestartSyscall
		out[regRIP] -= syscallLen
	}
	out[regOrigRAX] = noSyscall
	return out
}
