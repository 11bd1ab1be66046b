package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// Requests that golang.org/x/sys does not name on some architectures.
const (
	requestGetSigMask = 0x420a // PTRACE_GETSIGMASK, include/uapi/linux/ptrace.h
	requestSetSigMask = 0x420b
)

func request(req uintptr, task int, addr, data uintptr) unix.Errno {
	step()
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, req, uintptr(task), addr, data, 0, 0)
	return errno
}

// requestAt is request with memory that the kernel reads or writes. The address becomes a number
// only in the system call itself: calling a Go function may grow the stack and so move it, and a
// number would not move with it (TestStackMoves; internal/check, "moved").
func requestAt(req uintptr, task int, addr uintptr, data unsafe.Pointer) unix.Errno {
	step()
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, req, uintptr(task), addr, uintptr(data), 0, 0)
	return errno
}

// Follow is the set of options that make the kernel itself report and attach new tasks and
// programs.
const Follow = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK |
	unix.PTRACE_O_TRACEVFORKDONE | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESYSGOOD

// BeforeExit is the option that stops a task when it is about to end and still has its memory.
const BeforeExit = unix.PTRACE_O_TRACEEXIT

// SuspendSeccomp is the option that suspends a task's seccomp filters. It requires CAP_SYS_ADMIN
// and a tracer without filters (check_ptrace_options, kernel/ptrace.c).
const SuspendSeccomp = unix.PTRACE_O_SUSPEND_SECCOMP

// SetOptions replaces a stopped task's options.
func SetOptions(task int, options uintptr) error {
	return failed("PTRACE_SETOPTIONS", task, request(unix.PTRACE_SETOPTIONS, task, 0, options))
}

// Seize attaches to task without stopping it.
func Seize(task int, options uintptr) error {
	return failed("PTRACE_SEIZE", task, request(unix.PTRACE_SEIZE, task, 0, options))
}

// Interrupt makes a running or listening task stop; the stop is of kind Trap or Group.
func Interrupt(task int) error {
	return failed("PTRACE_INTERRUPT", task, request(unix.PTRACE_INTERRUPT, task, 0, 0))
}

// Cont resumes a stopped task and delivers signal, if it is not 0.
func Cont(task int, signal unix.Signal) error {
	return failed("PTRACE_CONT", task, request(unix.PTRACE_CONT, task, 0, uintptr(signal)))
}

// Syscall is Cont up to the next entry to or exit from a system call.
func Syscall(task int, signal unix.Signal) error {
	return failed("PTRACE_SYSCALL", task, request(unix.PTRACE_SYSCALL, task, 0, uintptr(signal)))
}

// Step is Cont for one instruction.
func Step(task int, signal unix.Signal) error {
	return failed("PTRACE_SINGLESTEP", task, request(unix.PTRACE_SINGLESTEP, task, 0, uintptr(signal)))
}

// Listen leaves a task in its job-control stop and reports what ends the stop.
func Listen(task int) error {
	return failed("PTRACE_LISTEN", task, request(unix.PTRACE_LISTEN, task, 0, 0))
}

// Detach detaches from a stopped task and delivers signal, if it is not 0.
func Detach(task int, signal unix.Signal) error {
	return failed("PTRACE_DETACH", task, request(unix.PTRACE_DETACH, task, 0, uintptr(signal)))
}

// EventMessage is the number that came with an event stop: the new task's id for Fork, VFork, Clone
// and VForkDone, the old thread id for Exec. A task that was killed has moved on to Exit, and the
// number is its exit status: EventMessage returns ESRCH then.
func EventMessage(task int, kind Kind) (int, error) {
	var msg uint64
	if errno := requestAt(unix.PTRACE_GETEVENTMSG, task, 0, unsafe.Pointer(&msg)); errno != 0 {
		return 0, failed("PTRACE_GETEVENTMSG", task, errno)
	}
	var info SigInfo // read after the number: if the stop is the same now, it was the same then
	if err := GetSigInfo(task, &info); err != nil {
		return 0, err
	}
	if eventKinds[uint32(info.Code()>>8)] != kind {
		return 0, failed("PTRACE_GETEVENTMSG", task, unix.ESRCH)
	}
	return int(msg), nil
}

// SigInfo is the kernel's siginfo_t. Its methods decode the words that every kind has.
type SigInfo [128]byte

// Signal is si_signo.
func (s *SigInfo) Signal() unix.Signal { return unix.Signal(*(*int32)(unsafe.Pointer(&s[0]))) }

// Code is si_code: the origin of the signal (sigaction(2)).
func (s *SigInfo) Code() int { return int(*(*int32)(unsafe.Pointer(&s[8]))) }

// Sender is si_pid, for signals sent by kill, tgkill or sigqueue.
func (s *SigInfo) Sender() int { return int(*(*int32)(unsafe.Pointer(&s[16]))) }

// Address is si_addr, for faults and traps.
func (s *SigInfo) Address() arch.Addr { return arch.Addr(*(*uint64)(unsafe.Pointer(&s[16]))) }

// Values of si_code that distinguish traps (include/uapi/asm-generic/siginfo.h).
const (
	CodeKernel = 0x80 // SI_KERNEL: int3 on amd64
	CodeBrkpt  = 1    // TRAP_BRKPT: brk on arm64; on amd64 DR6.BS without TF set by ptracer, icebp
	CodeTrace  = 2    // TRAP_TRACE: single step
	CodeHwbkpt = 4    // TRAP_HWBKPT: debug register
)

// GetSigInfo reads the siginfo of the signal that a task is stopped at.
func GetSigInfo(task int, info *SigInfo) error {
	return failed("PTRACE_GETSIGINFO", task, requestAt(unix.PTRACE_GETSIGINFO, task, 0, unsafe.Pointer(info)))
}

// SetSigInfo replaces the siginfo of the signal that a task is stopped at.
func SetSigInfo(task int, info *SigInfo) error {
	return failed("PTRACE_SETSIGINFO", task, requestAt(unix.PTRACE_SETSIGINFO, task, 0, unsafe.Pointer(info)))
}

// GetSigMask reads a stopped task's blocked signals, bit n-1 for signal n.
func GetSigMask(task int) (mask uint64, err error) {
	errno := requestAt(requestGetSigMask, task, 8, unsafe.Pointer(&mask))
	return mask, failed("PTRACE_GETSIGMASK", task, errno)
}

// SetSigMask replaces a stopped task's blocked signals.
func SetSigMask(task int, mask uint64) error {
	return failed("PTRACE_SETSIGMASK", task, requestAt(requestSetSigMask, task, 8, unsafe.Pointer(&mask)))
}

func getRegSet(task int, set uintptr, p unsafe.Pointer, size *int) unix.Errno {
	iov := unix.Iovec{Base: (*byte)(p), Len: uint64(*size)}
	errno := requestAt(unix.PTRACE_GETREGSET, task, set, unsafe.Pointer(&iov))
	*size = int(iov.Len)
	return errno
}

// NT_PRFPREG (elf.h): the floating-point registers.
const setFP = 2

// GetFP reads the floating-point registers in the kernel's layout.
func GetFP(task int) ([]byte, error) {
	buf := make([]byte, 1024)
	n := len(buf)
	errno := getRegSet(task, setFP, unsafe.Pointer(&buf[0]), &n)
	return buf[:n], failed("PTRACE_GETREGSET", task, errno)
}
