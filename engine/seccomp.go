package engine

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// A task that has forbidden itself system calls (seccomp(2)) may be killed for those
// that we have it make. Its filters are suspended for each of them where we may do
// that, and only for it: nothing of the program's runs meanwhile, and the kernel puts
// them in force again with the end of the tracing, so that our death can't lift them
// (__secure_computing, kernel/seccomp.c; __ptrace_unlink, kernel/ptrace.c). Where we
// may not, a task makes no call for us, unless it lives under the very filters that we
// live under ourselves: a container's.

// ErrSeccomp is of a process whose tasks can't be had to make the system calls that
// probes need.
var ErrSeccomp = errors.New("the process has a seccomp filter of its own, which may kill it for the system calls that probes need; " +
	"to suspend it takes CAP_SYS_ADMIN")

const seccompHelp = "run as root (CAP_SYS_ADMIN), outside of containers; with that the filter is suspended for those calls, " +
	"if the kernel has CONFIG_CHECKPOINT_RESTORE and the tracer no filter itself"

// sealing is what a task has forbidden itself, as proc_pid_status(5) tells it. Linux
// before 5.9 does not tell how many filters there are.
type sealing struct{ mode, filters int }

// sealingOf reads it of a task.
func sealingOf(tid int) (sealing, error) {
	st, err := procfs.ReadStatus(tid)
	return sealing{st.Number("Seccomp"), st.Number("Seccomp_filters")}, err
}

// ownSealing is the calling thread's.
func ownSealing() (sealing, error) { return sealingOf(syscall.Gettid()) }

// unsealed says whether a task may make any call that we may make ourselves; the error
// is ErrSeccomp if not.
func unsealed(tid int) error {
	theirs, err := sealingOf(tid)
	if err != nil || theirs.mode == 0 {
		return nil // one that has gone will say so
	}
	if ours, err := ownSealing(); err == nil && ours == theirs {
		return nil
	}
	return fmt.Errorf("task %d: %w", tid, ErrSeccomp)
}

// forbids is whether an error is that a task can't be had to make system calls.
func forbids(err error) bool { return errors.Is(err, ErrSeccomp) || errors.Is(err, ErrDispatch) }

// errSealed is why a handler does not run in a program: it would be killed for it. The
// engine runs it then.
var errSealed = errors.New("the program has forbidden itself (seccomp, syscall user dispatch, PR_SET_TSC) what the handler asks the kernel, or the clock")

// sealStrict is the mode that allows read, write, exit and rt_sigreturn alone, and on
// amd64 no rdtsc (prctl_set_seccomp, kernel/seccomp.c).
const sealStrict = 1

// seal is the mode of a process's tasks that have forbidden themselves more than we
// live under; 0 if none has. It is looked at for many sites at a time.
func (s *session) seal(p *inferior.Process) (mode int) {
	const fresh = 20 * time.Millisecond
	if last := &s.lastSeal; last.of == p && time.Since(last.at) < fresh {
		return last.mode
	}
	ours, _ := ownSealing()
	for tid := range p.Tasks {
		theirs, err := sealingOf(tid)
		if err != nil || theirs.mode == 0 || theirs == ours {
			continue
		}
		if mode == 0 || theirs.mode == sealStrict {
			mode = theirs.mode
		}
	}
	s.lastSeal.of, s.lastSeal.at, s.lastSeal.mode = p, time.Now(), mode
	return mode
}

// wouldAsk is whether a handler's code in a process makes system calls for what it is
// to tell: to read memory above all, which latency does in Go programs alone. Threads
// find their ids in the table of threads, but where they have no pointers of their own.
func (s *session) wouldAsk(p *inferior.Process, h *opened, need []compile.Helper) bool {
	inGo := isGo(p)
	return asksIDs(need) && (p.Space.Alike || inGo && !s.takeLines()) ||
		slices.ContainsFunc(need, func(n compile.Helper) bool {
			switch n.Num {
			case program.FnProbeReadUser:
				return inGo || h.kind != "latency"
			case program.FnProbeReadUserStr, program.FnCurrentUIDGID, program.FnCurrentComm, program.FnKtimeGetBootNS,
				program.FnSMPProcessorID: // amd64's compiler has that itself
				return true
			}
			return false
		})
}

// isGo is whether there is Go code in a process.
func isGo(p *inferior.Process) bool {
	for _, m := range p.Modules {
		if m.File.IsGo() {
			return true
		}
	}
	return false
}

// takesTime is whether a handler's code reads the CPU's clock.
func takesTime(need []compile.Helper) bool {
	return slices.ContainsFunc(need, func(h compile.Helper) bool {
		return h.Num == program.FnKtimeGetNS || h.Num == program.FnPrandomU32
	})
}

// unseal suspends the filters of a stopped task, until reseal. It does so whether
// there are any or not, since another thread may put them on it at any time.
func (s *session) unseal(t *inferior.Task) error {
	err := ptrace.SetOptions(t.TID, optionsOf(t)|ptrace.SuspendSeccomp)
	switch {
	case err == nil:
		t.Unsealed = true
		return nil
	case ptrace.IsGone(err):
		return err
	}
	s.sealed = true
	return unsealed(t.TID)
}

// reseal puts the filters in force again.
func (s *session) reseal(t *inferior.Task) error {
	if !t.Unsealed {
		return nil
	}
	t.Unsealed = false
	return ptrace.SetOptions(t.TID, optionsOf(t))
}

// mayCall says whether a halted task can be had to make system calls.
func (s *session) mayCall(t *inferior.Task) error {
	err := s.unseal(t)
	return errors.Join(err, s.reseal(t))
}
