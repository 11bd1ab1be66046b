package ptrace

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// Hold starts a process of a user's that has a file of the tracer's as its
// descriptor 0, for that user's processes to open by /proc/PID/fd/0: the tracer's own they
// may not look at, where that has another user or is hidden. Reap ends it; on the same thread.
//
// The process is the stub, executed with the tracer's ids and seized before it gets
// others: at no moment is there a process of that user's with the tracer's memory, and while its
// ids change it does not stop for signals that the user sends it.
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

// become gives a running stub other ids, and lets it go. What it loses with its own, to be
// ended with the tracer's thread and to be looked at by processes of its user, it gets again.
func become(pid int, uid, gid uint32) error {
	if int(uid) == unix.Geteuid() && int(gid) == unix.Getegid() {
		return nil // as it is
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

// awaitEvent waits until a stub that was interrupted stands: also where a signal has
// stopped it (a Group stop).
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
		if err := Interrupt(pid); err != nil { // any stop has cleared the one before
			return err
		}
		if err := Cont(pid, 0); err != nil {
			return err
		}
	}
}

// callInStub has a stopped stub make a system call. Signals that come meanwhile are
// thrown away.
func callInStub(pid int, nr uint64, args []uint64) error {
	var r arch.Regs
	if err := GetRegs(pid, &r); err != nil {
		return err
	}
	stubCall(&r, stubBase+64+56+stubSyscall, nr, args)
	if err := SetRegs(pid, &r); err != nil {
		return err
	}
	for range 2 { // its entry and its end
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
