package ptrace

import "golang.org/x/sys/unix"

// Signo is a signal's number.
type Signo = unix.Signal

// Errno is an answer of the kernel.
type Errno = unix.Errno

// Signals that the engine decides by.
const (
	SIGTRAP = unix.SIGTRAP
	SIGKILL = unix.SIGKILL
	SIGSTOP = unix.SIGSTOP
)

// Kind is what wait told of a task.
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

// Decode reads a wait status (wait(2), ptrace(2)). It is total: what it does
// not know is Unknown.
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

// Wait blocks until a task attached or started by this thread has something
// to tell; task -1 means any. Other threads' children are never touched
// (__WNOTHREAD). With block false it returns ok=false if nothing is there.
func Wait(task int, block bool) (s Stop, ok bool, err error) {
	flags := unix.WALL | unix.WNOTHREAD
	if !block {
		flags |= unix.WNOHANG
	}
	var status uint32
	for {
		tid, errno := wait4(task, &status, flags, block)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return Stop{}, false, failed("wait4", task, errno)
		case tid == 0:
			return Stop{}, false, nil
		default:
			return Decode(tid, status), true, nil
		}
	}
}
