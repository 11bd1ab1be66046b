package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// Requests that golang.org/x/sys lacks names for on some architectures.
const (
	requestGetSigMask = 0x420a // PTRACE_GETSIGMASK, include/uapi/linux/ptrace.h
	requestSetSigMask = 0x420b
)

func request(req uintptr, task int, addr, data uintptr) unix.Errno {
	step()
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, req, uintptr(task), addr, data, 0, 0)
	return errno
}

// requestAt is request with memory that the kernel reads or writes. Its address is a number
// in the call of the kernel only: a call of a Go function may grow the stack, which moves it, and a
// number does not move along (TestStackMoves; internal/check, "moved").
func requestAt(req uintptr, task int, addr uintptr, data unsafe.Pointer) unix.Errno {
	step()
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, req, uintptr(task), addr, uintptr(data), 0, 0)
	return errno
}

// Follow is the set of options under which new tasks and programs are
// reported and attached by the kernel itself.
const Follow = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK |
	unix.PTRACE_O_TRACEVFORKDONE | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESYSGOOD

// BeforeExit is the option under which a task stops when it is about to end, while it
// has its memory yet.
const BeforeExit = unix.PTRACE_O_TRACEEXIT

// SuspendSeccomp is the option under which a task's seccomp filters are not asked. It
// takes CAP_SYS_ADMIN, and a tracer without filters (check_ptrace_options,
// kernel/ptrace.c).
const SuspendSeccomp = unix.PTRACE_O_SUSPEND_SECCOMP

// SetOptions replaces a stopped task's options.
func SetOptions(task int, options uintptr) error {
	return failed("PTRACE_SETOPTIONS", task, request(unix.PTRACE_SETOPTIONS, task, 0, options))
}

// Seize attaches to task without stopping it.
func Seize(task int, options uintptr) error {
	return failed("PTRACE_SEIZE", task, request(unix.PTRACE_SEIZE, task, 0, options))
}

// Interrupt asks a running or listening task to stop; the stop is of kind Trap or Group.
func Interrupt(task int) error {
	return failed("PTRACE_INTERRUPT", task, request(unix.PTRACE_INTERRUPT, task, 0, 0))
}

// Cont lets a stopped task go on and delivers signal, if not 0.
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

// Listen leaves a task in its job-control stop and waits for what ends it.
func Listen(task int) error {
	return failed("PTRACE_LISTEN", task, request(unix.PTRACE_LISTEN, task, 0, 0))
}

// Detach lets a stopped task go for good and delivers signal, if not 0.
func Detach(task int, signal unix.Signal) error {
	return failed("PTRACE_DETACH", task, request(unix.PTRACE_DETACH, task, 0, uintptr(signal)))
}

// EventMessage is the number that came with an event stop: the new task's id
// for Fork, VFork, Clone and VForkDone, the old thread id for Exec. A task that was
// killed stands at Exit by now, and the number is its status: the error is ESRCH.
func EventMessage(task int, kind Kind) (int, error) {
	var msg uint64
	if errno := requestAt(unix.PTRACE_GETEVENTMSG, task, 0, unsafe.Pointer(&msg)); errno != 0 {
		return 0, failed("PTRACE_GETEVENTMSG", task, errno)
	}
	var info SigInfo // asked for behind the number: where the stop is this one still, it was at the number
	if err := GetSigInfo(task, &info); err != nil {
		return 0, err
	}
	if eventKinds[uint32(info.Code()>>8)] != kind {
		return 0, failed("PTRACE_GETEVENTMSG", task, unix.ESRCH)
	}
	return int(msg), nil
}

// SigInfo is the kernel's siginfo_t; the words every kind has are decoded by
// its methods.
type SigInfo [128]byte

// Signal is si_signo.
func (s *SigInfo) Signal() unix.Signal { return unix.Signal(*(*int32)(unsafe.Pointer(&s[0]))) }

// Code is si_code: who or what made the signal (sigaction(2)).
func (s *SigInfo) Code() int { return int(*(*int32)(unsafe.Pointer(&s[8]))) }

// Sender is si_pid, for signals sent by kill, tgkill or sigqueue.
func (s *SigInfo) Sender() int { return int(*(*int32)(unsafe.Pointer(&s[16]))) }

// Address is si_addr, for faults and traps.
func (s *SigInfo) Address() arch.Addr { return arch.Addr(*(*uint64)(unsafe.Pointer(&s[16]))) }

// si_code of the traps that are told apart (include/uapi/asm-generic/siginfo.h).
const (
	CodeKernel = 0x80 // SI_KERNEL: int3 on amd64
	CodeBrkpt  = 1    // TRAP_BRKPT: brk on arm64; on amd64 DR6.BS without TF of ours, icebp
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

// PokeWord writes one word of a stopped task's memory, whatever its
// protection: the way where /proc/PID/mem may not (proc_mem.force_override).
func PokeWord(task int, addr arch.Addr, word uint64) error {
	return failed("PTRACE_POKEDATA", task, request(unix.PTRACE_POKEDATA, task, uintptr(addr), uintptr(word)))
}

func getRegSet(task int, set uintptr, p unsafe.Pointer, size *int) unix.Errno {
	iov := unix.Iovec{Base: (*byte)(p), Len: uint64(*size)}
	errno := requestAt(unix.PTRACE_GETREGSET, task, set, unsafe.Pointer(&iov))
	*size = int(iov.Len)
	return errno
}

// NT_PRFPREG of elf.h: the floating-point registers.
const setFP = 2

// GetFP reads the floating-point registers as the kernel lays them out.
func GetFP(task int) ([]byte, error) {
	buf := make([]byte, 1024)
	n := len(buf)
	errno := getRegSet(task, setFP, unsafe.Pointer(&buf[0]), &n)
	return buf[:n], failed("PTRACE_GETREGSET", task, errno)
}
