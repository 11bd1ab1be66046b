package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Signo is a signal's number.
type Signo = unix.Signal

// Errno is an error number of the kernel.
type Errno = unix.Errno

// Signals that the engine distinguishes.
const (
	SIGTRAP = unix.SIGTRAP
	SIGSYS  = unix.SIGSYS
	SIGKILL = unix.SIGKILL
	SIGSTOP = unix.SIGSTOP
)

// Kind is the kind of event that wait reports of a task.
type Kind uint8

const (
	Unknown     Kind = iota // a status no kernel documents: resume and forget
	Exited                  // ended by exit; Status is its code
	Killed                  // ended by Signal
	Signal                  // about to be delivered Signal (signal-delivery-stop)
	Group                   // stopped by job control with Signal (group-stop)
	Trap                    // stopped by Interrupt, or a new task's first stop
	SyscallStop             // entry to or exit from a system call
	Fork                    // has forked; the new task is in EventMessage
	VFork                   // has vforked
	Clone                   // has cloned
	VForkDone               // the vfork's child has let go of the memory
	Exec                    // runs a new program
	Exit                    // is about to exit
	Seccomp                 // seccomp's RET_TRACE
)

// Stop is one answer of wait, decoded.
type Stop struct {
	Kind   Kind
	Task   int         // thread id
	Signal unix.Signal // of Killed, Signal and Group
	Status int         // exit code of Exited
	Core   bool        // Killed with a core dump
}

// Decode decodes a wait status (wait(2), ptrace(2)). It accepts every status: one that it does not
// know is Unknown.
func Decode(task int, status uint32) Stop {
	s := Stop{Task: task}
	low := status & 0x7f
	switch {
	case status == 0xffff: // WCONTINUED, never asked for
	case status&0xff == 0x7f:
		decodeStopped(&s, unix.Signal(status>>8&0xff), status>>16)
	case low == 0:
		s.Kind, s.Status = Exited, int(status>>8&0xff)
	case low != 0x7f:
		s.Kind, s.Signal, s.Core = Killed, unix.Signal(low), status&0x80 != 0
	}
	return s
}

func decodeStopped(s *Stop, signal unix.Signal, event uint32) {
	s.Signal = signal
	switch {
	case event == unix.PTRACE_EVENT_STOP:
		s.Kind = Group
		if signal == unix.SIGTRAP {
			s.Kind = Trap
		}
	case event != 0:
		s.Kind = eventKinds[event]
	case signal == unix.SIGTRAP|0x80:
		s.Kind, s.Signal = SyscallStop, 0
	case signal != 0:
		s.Kind = Signal
	}
}

var eventKinds = map[uint32]Kind{
	unix.PTRACE_EVENT_FORK:       Fork,
	unix.PTRACE_EVENT_VFORK:      VFork,
	unix.PTRACE_EVENT_CLONE:      Clone,
	unix.PTRACE_EVENT_VFORK_DONE: VForkDone,
	unix.PTRACE_EVENT_EXEC:       Exec,
	unix.PTRACE_EVENT_EXIT:       Exit,
	unix.PTRACE_EVENT_SECCOMP:    Seccomp,
}

// Wait blocks until the kernel reports an event of a task that this thread has attached or started;
// task -1 means any. It never touches other threads' children (__WNOTHREAD).
//
// Wait only looks at the stop (WNOWAIT). Until the stop is taken, the kernel keeps the signal that
// caused it, and delivers it if the tracer dies before the task is resumed. The signal of a taken
// stop would be lost with the tracer. So the caller must call Take for a stop that it does not
// resume at once, or Wait reports the stop again. The end of a task needs no Take. Wait itself
// takes an Exec stop: if another thread than the leader has called exec, the kernel refuses
// requests until the stop is taken (looks_like_a_spurious_pid, kernel/ptrace.c).
func Wait(task int, block bool) (s Stop, ok bool, err error) {
	flags := unix.WEXITED | unix.WSTOPPED | unix.WALL | unix.WNOTHREAD | unix.WNOWAIT
	if !block {
		flags |= unix.WNOHANG
	}
	var info SigInfo
	late := lateness.Load()
	late.wait()
	for {
		errno := waitid(task, &info, flags, block)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return Stop{}, false, failed("waitid", task, errno)
		case info.Sender() == 0:
			return Stop{}, false, nil
		case task < 0 && late.wait():
			continue
		}
		s = Decode(info.Sender(), info.waitStatus())
		switch s.Kind {
		case Exited, Killed:
			reap(s.Task)
		case Exec:
			if taken := Take(s.Task); taken.Kind == Exit {
				s = taken
			}
		}
		return s, true, nil
	}
}

// Ended is Wait for the end of a task only; it never blocks. It looks with WNOWAIT first, since the
// kernel reports a stop of a tracee to its tracer whatever the options are (wait_consider_task,
// kernel/exit.c), and without WNOWAIT that stop would be lost.
func Ended(task int) (s Stop, ok bool) {
	var info SigInfo
	const flags = unix.WEXITED | unix.WALL | unix.WNOTHREAD | unix.WNOHANG | unix.WNOWAIT
	lateness.Load().wait()
	for {
		switch errno := waitid(task, &info, flags, false); {
		case errno == unix.EINTR:
			continue
		case errno != 0 || info.Sender() == 0:
			return Stop{}, false
		}
		s = Decode(info.Sender(), info.waitStatus())
		if s.Kind != Exited && s.Kind != Killed {
			return Stop{}, false
		}
		reap(task)
		return s, true
	}
}

// reap takes the end of a task that has ended.
func reap(task int) {
	var info SigInfo
	for waitid(task, &info, unix.WEXITED|unix.WALL|unix.WNOTHREAD|unix.WNOHANG, false) == unix.EINTR {
	}
}

// Yield lets other threads run on this thread's CPU.
func Yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// Take makes Wait not report a task's present stop again, and returns that stop. A task that is
// killed meanwhile leaves the stop that Wait reported for its next one, usually Exit. Take then
// takes that one: nothing else reports it, and the task stays there until it is resumed. Wait still
// reports the task's end later.
func Take(task int) (s Stop) {
	lateness.Load().wait()
	var info SigInfo
	for waitid(task, &info, unix.WSTOPPED|unix.WALL|unix.WNOTHREAD|unix.WNOHANG, false) == unix.EINTR {
	}
	if info.Sender() != 0 {
		s = Decode(info.Sender(), info.waitStatus())
	}
	return s
}

// waitStatus converts the answer of waitid into the form of wait's status.
func (s *SigInfo) waitStatus() uint32 {
	const exited, dumped = 1, 3 // CLD_EXITED, CLD_DUMPED; killed is 2
	status := *(*uint32)(unsafe.Pointer(&s[24]))
	switch s.Code() {
	case exited:
		return status << 8
	case 2:
		return status & 0x7f
	case dumped:
		return status&0x7f | 0x80
	}
	return status<<8 | 0x7f
}
