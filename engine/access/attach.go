package access

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/procfs"
)

// Why a process can't be attached. Where the kernel does not permit it, the error is an
// fs.ErrPermission, too.
var (
	ErrTraced     = errors.New("already traced")
	ErrCycle      = errors.New("it traces ptracer, directly or through others")
	ErrSelf       = errors.New("it is this process itself")
	ErrKernel     = errors.New("it is a kernel thread")
	ErrZombie     = errors.New("it has ended and waits for its parent (zombie)")
	ErrYama       = failure.Kind("forbidden by Yama (kernel.yama.ptrace_scope)", fs.ErrPermission)
	ErrOtherUser  = failure.Kind("it runs as another user", fs.ErrPermission)
	ErrCapability = failure.Kind("it has capabilities that ptracer lacks", fs.ErrPermission)
	ErrUndumpable = failure.Kind("it is not dumpable (set-uid, or by prctl)", fs.ErrPermission)
	ErrNamespace  = failure.Kind("it runs in another user namespace", fs.ErrPermission)
	ErrWaited     = errors.New("this process waits for it already, and would get its stops")
	ErrMachine    = failure.Kind("not of this CPU's instruction set", errors.ErrUnsupported)
	ErrResident   = errors.New("there are resident probes in it")
	ErrFollowed   = errors.New("ptracer itself is being traced, and its children with it")
)

// Error says why a process can't be attached, and what would help.
type Error struct {
	PID    int
	Reason error  // one of the errors above, or the kernel's
	Detail string // which tracer, mode or user
	Help   string // what to do
}

func (e *Error) Error() string {
	s := fmt.Sprintf("attach to %d: %v", e.PID, e.Reason)
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	if e.Help != "" {
		s += ": " + e.Help
	}
	return s
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Reason }

// Refuse finds what makes an attach impossible or harmful, before the kernel is asked;
// machine is what programs of this machine are for.
func Refuse(pid int, machine elf.Machine) error {
	no := func(reason error, detail, help string) error { return &Error{pid, reason, detail, help} }
	if pid <= 0 {
		return no(errors.New("not a process id"), "", "")
	}
	if pid == os.Getpid() {
		return no(ErrSelf, "", "")
	}
	st, err := procfs.ReadStatus(pid)
	if err != nil {
		return no(ptrace.ErrGone, "no such process", "")
	}
	if tgid := st.Number("Tgid"); tgid != pid {
		return no(errors.New("it is a thread"), fmt.Sprintf("of process %d", tgid), fmt.Sprintf("attach to %d", tgid))
	}
	ended := st.Ended()
	switch {
	case ended && procfs.LiveTask(pid) != pid: // its first thread only
	case ended:
		return no(ErrZombie, st["Name"], "")
	case st["Kthread"] == "1", st["VmSize"] == "" && st["Kthread"] == "":
		return no(ErrKernel, st["Name"], "")
	}
	if tracer := st.Number("TracerPid"); tracer != 0 {
		return no(ErrTraced, byWhom(tracer), "end that tracer first: the kernel allows one")
	}
	if through := cycle(pid); through != 0 {
		return no(ErrCycle, fmt.Sprintf("%d traces %d", pid, through), "")
	}
	if waitedFor(st) {
		return no(ErrWaited, "exec.Cmd.Wait in another goroutine", "start it by engine.Start, or wait for it when the session has ended")
	}
	return checkMachine(pid, machine)
}

// byWhom names a tracer, of which status files tell the thread.
func byWhom(tid int) string {
	pid := procfs.Group(tid)
	return fmt.Sprintf("by %d, %s", pid, procfs.Comm(pid))
}

func checkMachine(pid int, machine elf.Machine) error {
	f, err := elf.Open(procfs.Path(procfs.LiveTask(pid), "exe"))
	if err != nil {
		return nil // it can't be read: the kernel will say why
	}
	defer f.Close()
	if f.Machine != machine {
		return &Error{pid, ErrMachine, f.Machine.String(), "only 64-bit programs of the machine's own kind can be traced"}
	}
	return nil
}

// cycle is the task of this process, or of its tracers, that pid traces; 0 if there is none.
func cycle(pid int) int {
	for at, n := os.Getpid(), 0; at != 0 && n < 64; n++ {
		tracer := procfs.Tracer(at)
		if tracer != 0 && procfs.Group(tracer) == pid {
			return at
		}
		at = tracer
	}
	return 0
}

// ExplainOwn turns the kernel's refusal to have a child of this process's own
// traced into the reason, where that is a tracer of this process (strace -f). An
// errno of execve is none of ptrace's.
func ExplainOwn(err error) error {
	var refused *ptrace.Error
	tracer := procfs.Tracer(ptrace.ThreadID())
	if tracer == 0 || !errors.As(err, &refused) || !errors.Is(refused, ptrace.ErrNotPermitted) {
		return err
	}
	return fmt.Errorf("%w (%s): end that tracer, or have it not follow children", ErrFollowed, byWhom(tracer))
}

// Resident says what to do about resident probes that are in a process.
func Resident(pid int) error {
	return &Error{PID: pid, Reason: ErrResident,
		Help: fmt.Sprintf("'ptracer read %d' tells what they have found out, 'ptracer stop %d' takes them out", pid, pid)}
}

// Explain turns the kernel's refusal into a reason and a remedy.
func Explain(pid int, err error) error {
	if errors.Is(err, ptrace.ErrGone) {
		return &Error{pid, ptrace.ErrGone, "it ended meanwhile", ""}
	}
	if !errors.Is(err, ptrace.ErrNotPermitted) {
		return &Error{PID: pid, Reason: err}
	}
	st, e := procfs.ReadStatus(pid)
	own, e2 := procfs.ReadStatus(os.Getpid())
	if e != nil || e2 != nil {
		return &Error{PID: pid, Reason: err}
	}
	if tracer := st.Number("TracerPid"); tracer != 0 && tracer != ptrace.ThreadID() {
		return &Error{pid, ErrTraced, byWhom(tracer), "end that tracer first: the kernel allows one"}
	}
	mode := procfs.Yama()
	switch {
	case procfs.HasCap(procfs.CapSysPtrace) && procfs.UserNamespace(pid) != procfs.UserNamespace(os.Getpid()):
		return &Error{pid, ErrNamespace, procfs.UserNamespace(pid), "run in that namespace (nsenter -U -t " + strconv.Itoa(pid) + "), or in its parent as root"}
	case mode >= 2:
		return &Error{pid, ErrYama, fmt.Sprintf("mode %d", mode), yamaHelp(mode)}
	case st["Uid"] != own["Uid"] || st["Gid"] != own["Gid"]:
		return &Error{pid, ErrOtherUser, "uid " + st.First("Uid") + ", ptracer runs as " + own.First("Uid"), "run as that user, or as root"}
	case mode == 1 && !procfs.HasCap(procfs.CapSysPtrace):
		return &Error{pid, ErrYama, "mode 1: not a child of ptracer", yamaHelp(mode)}
	case st.Hex("CapPrm")&^own.Hex("CapPrm") != 0:
		return &Error{pid, ErrCapability, "CapPrm " + st["CapPrm"], "run with CAP_SYS_PTRACE"}
	case !procfs.Dumpable(pid):
		return &Error{pid, ErrUndumpable, "", "run as root (CAP_SYS_PTRACE)"}
	}
	return &Error{pid, err, "", "a security module or seccomp filter may forbid it"}
}

func yamaHelp(mode int) string {
	switch mode {
	case 1:
		return "start the program with ptracer, run as root, or sysctl kernel.yama.ptrace_scope=0"
	case 2:
		return "run as root (CAP_SYS_PTRACE)"
	}
	return "it can't be changed before a reboot"
}
