package engine

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// Why a process can't be attached.
var (
	ErrTraced     = errors.New("already traced")
	ErrCycle      = errors.New("it traces us, directly or through others")
	ErrSelf       = errors.New("it is this process itself")
	ErrKernel     = errors.New("it is a kernel thread")
	ErrZombie     = errors.New("it has ended and waits for its parent (zombie)")
	ErrYama       = errors.New("forbidden by Yama (kernel.yama.ptrace_scope)")
	ErrOtherUser  = errors.New("it runs as another user")
	ErrCapability = errors.New("it has capabilities that we lack")
	ErrUndumpable = errors.New("it is not dumpable (set-uid, or by prctl)")
	ErrNamespace  = errors.New("it runs in another user namespace")
	ErrWaited     = errors.New("this process waits for it already, and would get its stops")
	ErrMachine    = errors.New("not of this CPU's instruction set")
	ErrFollowed   = errors.New("ptracer itself is being traced, and its children with it")
)

// AttachError says why a process can't be attached, and what would help.
type AttachError struct {
	PID    int
	Reason error  // one of the errors above, or the kernel's
	Detail string // who traces it, which mode, which uid
	Help   string // what to do
}

func (e *AttachError) Error() string {
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
func (e *AttachError) Unwrap() error { return e.Reason }

// Finding is one line of a diagnosis.
type Finding struct {
	Topic string `json:"topic"`
	OK    bool   `json:"ok"`
	Text  string `json:"text"`
	Help  string `json:"help,omitempty"`
}

// Diagnose says what stands in the way of tracing: on this machine with pid 0,
// else of this process.
func Diagnose(pid int) []Finding {
	if pid != 0 {
		return diagnoseProcess(pid)
	}
	return diagnoseMachine()
}

func diagnoseMachine() (fs []Finding) {
	mode := yamaMode()
	texts := map[int]string{-1: "Yama is not active", 0: "Yama mode 0: any process of yours can be traced",
		1: "Yama mode 1: only your own children, unless you have CAP_SYS_PTRACE",
		2: "Yama mode 2: only with CAP_SYS_PTRACE", 3: "Yama mode 3: nothing can be attached until reboot"}
	f := Finding{Topic: "yama", OK: mode <= 0 || mode < 3 && hasCap(capSysPtrace), Text: texts[mode]}
	if !f.OK {
		f.Help = yamaHelp(mode)
	}
	fs = append(fs, f)
	f = Finding{Topic: "capability", OK: hasCap(capSysPtrace), Text: "CAP_SYS_PTRACE is there: processes of other users can be traced"}
	if !f.OK {
		f.Text = "no CAP_SYS_PTRACE: only processes of your own user"
		f.Help = "run as root, or in a container with --cap-add SYS_PTRACE"
	}
	fs = append(fs, f)
	f = Finding{Topic: "ptrace", OK: true, Text: "a child can be started and traced"}
	if s, err := Start(Command{Path: "/proc/self/exe"}); err != nil {
		f.OK, f.Text, f.Help = false, err.Error(), "a seccomp filter may forbid ptrace or memfd_create (container runtimes: allow the ptrace system call)"
	} else {
		_ = s.Kill()
	}
	fs = append(fs, f)
	f = Finding{Topic: "storm", OK: ptrace.CanLeaveIdle(), Text: "tracer and tracee can share a CPU in a storm of stops"}
	if !f.OK {
		f.Text, f.Help = "tracer and tracee can't share a CPU in a storm of stops: each costs more", "CAP_SYS_NICE, or RLIMIT_NICE of 20 or more"
	}
	return append(fs, f)
}

func diagnoseProcess(pid int) []Finding {
	err := refuse(pid)
	var sealed error
	if err == nil {
		sealed, err = trial(pid)
	}
	if err == nil {
		return append([]Finding{{Topic: "attach", OK: true, Text: fmt.Sprintf("%d (%s) can be traced", pid, inferior.Comm(pid))}}, sealFindings(pid, sealed)...)
	}
	f := Finding{Topic: "attach", Text: err.Error()}
	var a *AttachError
	if errors.As(err, &a) {
		b := *a
		b.Help = ""
		f.Text, f.Help = b.Error(), a.Help
	}
	return []Finding{f}
}

// trial attaches and lets go at once; the process does not stop for it but for
// the moment of detaching. What is in the way of probes is another matter.
func trial(pid int) (sealed, err error) {
	opened, err := Attach(pid)
	if err != nil {
		return nil, err
	}
	s := opened.(*session)
	_ = s.do(func() error {
		if p := s.procs[pid]; p != nil {
			sealed = s.withTask([]*inferior.Process{p}, s.tryCalls)
		}
		return nil
	})
	return sealed, s.Detach()
}

// sealFindings are about a process that has forbidden itself system calls; sealed is
// what is in the way of having it make ours.
func sealFindings(pid int, sealed error) []Finding {
	f := Finding{Topic: "seccomp", OK: true, Text: "its filter is suspended for the system calls that probes need"}
	switch {
	case errors.Is(sealed, ErrDispatch):
		f = Finding{Topic: "dispatch", Text: "it can't be probed: " + ErrDispatch.Error(), Help: "use a newer kernel"}
	case errors.Is(sealed, ErrSeccomp):
		f.OK, f.Text, f.Help = false, "it can't be probed: a filter of its own may kill it for the system calls that probes need", seccompHelp
	case !hasSeal(pid):
		return nil
	case unsealed(pid) == nil:
		f.Text = "it lives under the filter that we live under, too"
	}
	return []Finding{f}
}

// hasSeal is whether a process has forbidden itself system calls.
func hasSeal(pid int) bool {
	st, err := readStatus(pid)
	return err == nil && st.number("Seccomp") != 0
}

// refuse finds what makes an attach impossible or harmful, before the kernel
// is asked.
func refuse(pid int) error {
	no := func(reason error, detail, help string) error { return &AttachError{pid, reason, detail, help} }
	if pid <= 0 {
		return no(errors.New("not a process id"), "", "")
	}
	if pid == os.Getpid() {
		return no(ErrSelf, "", "")
	}
	st, err := readStatus(pid)
	if err != nil {
		return no(ErrGone, "no such process", "")
	}
	if tgid := st.number("Tgid"); tgid != pid {
		return no(errors.New("it is a thread"), fmt.Sprintf("of process %d", tgid), fmt.Sprintf("attach to %d", tgid))
	}
	ended := strings.HasPrefix(st["State"], "Z") || strings.HasPrefix(st["State"], "X")
	switch {
	case ended && symbols.LiveTask(pid) != pid: // its first thread only
	case ended:
		return no(ErrZombie, st["Name"], "")
	case st["Kthread"] == "1", st["VmSize"] == "" && st["Kthread"] == "":
		return no(ErrKernel, st["Name"], "")
	}
	if tracer := st.number("TracerPid"); tracer != 0 {
		return no(ErrTraced, byWhom(tracer), "end that tracer first: the kernel allows one")
	}
	if through := cycle(pid); through != 0 {
		return no(ErrCycle, fmt.Sprintf("%d traces %d", pid, through), "")
	}
	if waitedFor(st) {
		return no(ErrWaited, "exec.Cmd.Wait in another goroutine", "start it by engine.Start, or wait for it when the session has ended")
	}
	return checkMachine(pid)
}

// byWhom names a tracer, of which status files tell the thread.
func byWhom(tid int) string {
	pid := groupOf(tid)
	return fmt.Sprintf("by %d, %s", pid, inferior.Comm(pid))
}

func checkMachine(pid int) error {
	f, err := elf.Open(fmt.Sprintf("/proc/%d/exe", symbols.LiveTask(pid)))
	if err != nil {
		return nil // not readable to us: the kernel will say why
	}
	defer f.Close()
	if f.Machine != hostISA().Machine() {
		return &AttachError{pid, ErrMachine, f.Machine.String(), "only 64-bit programs of the machine's own kind can be traced"}
	}
	return nil
}

// cycle says whether pid traces us or our tracers, and whom.
func cycle(pid int) int {
	for at, n := os.Getpid(), 0; at != 0 && n < 64; n++ {
		tracer := tracerOf(at)
		if tracer != 0 && groupOf(tracer) == pid {
			return at
		}
		at = tracer
	}
	return 0
}

func tracerOf(tid int) int {
	st, err := readStatus(tid)
	if err != nil {
		return 0
	}
	return st.number("TracerPid")
}

// explainOwn turns the kernel's refusal to have a child of this process's own
// traced into the reason, where that is a tracer of this process (strace -f). An
// errno of execve is none of ptrace's.
func explainOwn(err error) error {
	var refused *ptrace.Error
	tracer := tracerOf(ptrace.ThreadID())
	if tracer == 0 || !errors.As(err, &refused) || !errors.Is(refused, ptrace.ErrNotPermitted) {
		return err
	}
	return fmt.Errorf("%w (%s): end that tracer, or have it not follow children", ErrFollowed, byWhom(tracer))
}

// explain turns the kernel's refusal into a reason and a remedy.
func explain(pid int, err error) error {
	if errors.Is(err, ptrace.ErrGone) {
		return &AttachError{pid, ErrGone, "it ended meanwhile", ""}
	}
	if !errors.Is(err, ptrace.ErrNotPermitted) && !errors.Is(err, os.ErrPermission) {
		return &AttachError{PID: pid, Reason: err}
	}
	st, e := readStatus(pid)
	own, e2 := readStatus(os.Getpid())
	if e != nil || e2 != nil {
		return &AttachError{PID: pid, Reason: err}
	}
	if tracer := st.number("TracerPid"); tracer != 0 && tracer != ptrace.ThreadID() {
		return &AttachError{pid, ErrTraced, byWhom(tracer), "end that tracer first: the kernel allows one"}
	}
	mode := yamaMode()
	switch {
	case hasCap(capSysPtrace) && userNamespace(pid) != userNamespace(os.Getpid()):
		return &AttachError{pid, ErrNamespace, userNamespace(pid), "run in that namespace (nsenter -U -t " + strconv.Itoa(pid) + "), or in its parent as root"}
	case mode >= 2:
		return &AttachError{pid, ErrYama, fmt.Sprintf("mode %d", mode), yamaHelp(mode)}
	case st["Uid"] != own["Uid"] || st["Gid"] != own["Gid"]:
		return &AttachError{pid, ErrOtherUser, "uid " + firstField(st["Uid"]) + ", we are " + firstField(own["Uid"]), "run as that user, or as root"}
	case mode == 1 && !hasCap(capSysPtrace):
		return &AttachError{pid, ErrYama, "mode 1: not a child of ours", yamaHelp(mode)}
	case st.hex("CapPrm")&^own.hex("CapPrm") != 0:
		return &AttachError{pid, ErrCapability, "CapPrm " + st["CapPrm"], "run with CAP_SYS_PTRACE"}
	case !dumpable(pid):
		return &AttachError{pid, ErrUndumpable, "", "run as root (CAP_SYS_PTRACE)"}
	}
	return &AttachError{pid, err, "", "a security module or seccomp filter may forbid it"}
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

// yamaMode is kernel.yama.ptrace_scope, -1 where Yama is not active.
func yamaMode() int {
	b, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return -1
	}
	return n
}

// dumpable looks at who owns the process's files in /proc: root, where it is not.
func dumpable(pid int) bool {
	exe := fmt.Sprintf("/proc/%d/exe", symbols.LiveTask(pid))
	fi, err := os.Stat(exe)
	_, err2 := os.Readlink(exe)
	return err == nil && fi != nil && err2 == nil
}

func userNamespace(pid int) string {
	ns, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", pid))
	return ns
}

const capSysPtrace = 19

func hasCap(n int) bool {
	st, err := readStatus(os.Getpid())
	return err == nil && st.hex("CapEff")>>n&1 != 0
}

// status is /proc/PID/status.
type status map[string]string

func readStatus(pid int) (status, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	st := status{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			st[k] = strings.TrimSpace(v)
		}
	}
	return st, nil
}

func (st status) number(key string) int {
	n, _ := strconv.Atoi(firstField(st[key]))
	return n
}

func (st status) hex(key string) uint64 {
	n, _ := strconv.ParseUint(st[key], 16, 64)
	return n
}

func firstField(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return f[0]
	}
	return ""
}
