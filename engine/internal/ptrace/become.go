package ptrace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Become executes a program with other ids and no way back to the tracer's own: the real, effective
// and saved ids are the given ones, the program has no capabilities, and no program executed later
// gains any (PR_SET_NO_NEW_PRIVS). It returns only an error.
//
// The kernel keeps ids per thread. The calling thread changes its own ids, and the executed program
// has a memory of its own. Until then the user can stop this process, but not look into it
// (commit_creds, kernel/cred.c), so the caller runs Become in a process that has nothing else to
// do.
func Become(uid, gid uint32, groups []uint32, path string, args, env []string) error {
	runtime.LockOSThread() // for good: the thread must not come back with half of its ids
	if uid == 0 {
		return errors.New("become another user: that is root")
	}
	list := make([]uint32, max(len(groups), 1))
	copy(list, groups)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0); errno != 0 {
		return fmt.Errorf("become user %d: setgroups: %w", uid, errno)
	}
	for _, c := range []struct {
		name string
		nr   uintptr
		a, b uintptr
		c    uintptr
	}{
		{"setresgid", unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
		{"setresuid", unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
		{"PR_SET_NO_NEW_PRIVS", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0},
	} {
		if _, _, errno := unix.RawSyscall(c.nr, c.a, c.b, c.c); errno != 0 {
			return fmt.Errorf("become user %d: %s: %w", uid, c.name, errno)
		}
	}
	if err := unprivileged(uid); err != nil {
		return err
	}
	return syscall.Exec(path, args, env)
}

// needed lists root's capabilities that a tracer of other users' processes uses.
var needed = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, // their files, and the files that the tracer makes for them
	unix.CAP_KILL, unix.CAP_SETUID, unix.CAP_SETGID, // processes that act for them
	unix.CAP_SYS_PTRACE, unix.CAP_SYS_ADMIN, // the last for PTRACE_O_SUSPEND_SECCOMP
}

// Confine executes a program with at most the capabilities that a tracer needs, as have all
// programs that it executes: other capabilities leave the bounding set, and nothing can add them
// again. It returns only an error.
func Confine(path string, args, env []string) error {
	runtime.LockOSThread()
	const last = 63 // more than the kernel has: it refuses unknown ones
	for c := uintptr(0); c <= last; c++ {
		if slices.Contains(needed, c) {
			continue
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); errno != 0 && errno != unix.EINVAL {
			return fmt.Errorf("PR_CAPBSET_DROP %d: %w", c, errno)
		}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", errno)
	}
	return syscall.Exec(path, args, env)
}

// unprivileged makes sure that the calling thread has none of root's rights.
func unprivileged(uid uint32) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); errno == 0 {
		return fmt.Errorf("become user %d: the way back is open", uid)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	if caps[0].Permitted|caps[1].Permitted != 0 {
		return fmt.Errorf("become user %d: capabilities are left", uid)
	}
	return nil
}

// Private returns a copy of this process's program, in memory, that other users can execute but not
// read. A process that executes a file it may not read is hidden from its first instruction on
// (would_dump, fs/exec.c).
func Private() (*os.File, error) {
	fd, err := unix.MemfdCreate("ptracer", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("ptracer", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	to := os.NewFile(uintptr(fd), "ptracer")
	from, err := os.Open("/proc/self/exe")
	if err == nil {
		_, err = io.Copy(to, from)
		from.Close()
	}
	if err == nil {
		err = to.Chmod(0o711)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy the program: %w", err), to.Close())
	}
	return to, nil
}

// Hide keeps other processes of this process's user from tracing and inspecting it, until it
// executes a program (PR_SET_DUMPABLE).
func Hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	return nil
}

// Hidden reports whether other processes of this process's user may not inspect it.
func Hidden() bool {
	n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return err == nil && n != 1
}

// KeepGoing resumes a child each time a signal stops it, until the child ends. The caller must
// still wait for the child.
func KeepGoing(pid int) {
	for {
		var info SigInfo
		errno := waitid(pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, true)
		if errno == unix.EINTR {
			continue
		}
		if kind := Decode(pid, info.waitStatus()).Kind; errno != 0 || kind == Exited || kind == Killed {
			return
		}
		for waitid(pid, &info, unix.WSTOPPED|unix.WNOHANG, false) == unix.EINTR {
		}
		_ = unix.Kill(pid, unix.SIGCONT) // last: else the report that is taken might be a later stop's
	}
}
