package ptrace

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// Hold starts a process of a user's that has a file of the tracer's as its descriptor 0. That
// user's processes open the file as /proc/PID/fd/0, since they may not open the tracer's own
// descriptors if the tracer has another user or is hidden. Reap ends the process, on the same
// thread.
//
// The process is the stub, executed with the tracer's ids and seized before it gets other ids. So
// at no moment does a process of that user have the tracer's memory, and the process does not stop
// for the user's signals while its ids change.
func Hold(fd uintptr, uid, gid uint32) (pid int, err error) {
	pid, err = startStub([]string{"ptracer-file"}, &syscall.ProcAttr{Dir: "/", Files: []uintptr{fd}})
	if err != nil {
		return 0, err
	}
	if err := become(pid, uid, gid); err != nil {
		Reap(pid)
		return 0, fmt.Errorf("helper process: %w", err)
	}
	return pid, nil
}

// become gives a running stub other ids and resumes it. The change of ids clears the death signal
// and the dumpable flag; become sets both again, so that the stub ends with the tracer's thread and
// its user's processes may inspect it.
func become(pid int, uid, gid uint32) error {
	if int(uid) == unix.Geteuid() && int(gid) == unix.Getegid() {
		return nil // it keeps its ids
	}
	if err := Seize(pid, unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACESYSGOOD); err != nil {
		return err
	}
	if err := Interrupt(pid); err != nil {
		return err
	}
	if err := awaitEvent(pid); err != nil {
		return err
	}
	u, g := uint64(uid), uint64(gid)
	for _, c := range []struct {
		name string
		nr   uint64
		args []uint64
	}{
		{"setgroups", unix.SYS_SETGROUPS, []uint64{0, 0}},
		{"setresgid", unix.SYS_SETRESGID, []uint64{g, g, g}},
		{"setresuid", unix.SYS_SETRESUID, []uint64{u, u, u}},
		{"PR_SET_PDEATHSIG", unix.SYS_PRCTL, []uint64{unix.PR_SET_PDEATHSIG, uint64(unix.SIGKILL)}},
		{"PR_SET_DUMPABLE", unix.SYS_PRCTL, []uint64{unix.PR_SET_DUMPABLE, 1}},
	} {
		if err := callInStub(pid, c.nr, c.args); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return Detach(pid, 0)
}

// awaitEvent waits until an interrupted stub has stopped, even if a signal has stopped it (a Group
// stop).
func awaitEvent(pid int) error {
	for {
		s, _, err := Wait(pid, true)
		switch {
		case err != nil:
			return err
		case s.Kind == Trap || s.Kind == Group:
			return nil
		case s.Kind == Exited || s.Kind == Killed:
			return ErrGone
		}
		if err := Interrupt(pid); err != nil { // any stop has cleared the earlier interrupt
			return err
		}
		if err := Cont(pid, 0); err != nil {
			return err
		}
	}
}

// callInStub makes a stopped stub make a system call. Signals that arrive meanwhile are discarded.
func callInStub(pid int, nr uint64, args []uint64) error {
	var r arch.Regs
	if err := GetRegs(pid, &r); err != nil {
		return err
	}
	stubCall(&r, stubBase+64+56+stubSyscall, nr, args)
	if err := SetRegs(pid, &r); err != nil {
		return err
	}
	for range 2 { // its entry and its exit
		if err := toStubCall(pid); err != nil {
			return err
		}
	}
	if err := GetRegs(pid, &r); err != nil {
		return err
	}
	if result := int64(stubResult(&r)); result < 0 {
		return unix.Errno(-result)
	}
	return nil
}

func toStubCall(pid int) error {
	for {
		if err := Syscall(pid, 0); err != nil {
			return err
		}
		s, _, err := Wait(pid, true)
		switch {
		case err != nil:
			return err
		case s.Kind == SyscallStop:
			return nil
		case s.Kind == Exited || s.Kind == Killed:
			return ErrGone
		}
	}
}
