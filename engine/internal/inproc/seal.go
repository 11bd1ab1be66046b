package inproc

import (
	"errors"
	"slices"
	"time"

	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
)

// noTime reports whether a process may not read the CPU's counter of time. All tasks inherit that
// from the task that made them, so one is asked. A later change is seen by a hook (hit.OnPrctl).
func (x *InProcess) noTime(p *inferior.Process) bool {
	space := p.Space
	if space.TimeChecked || !ptrace.TimeFaults || space.Guard.Data == 0 {
		return space.NoTime
	}
	space.TimeChecked = true
	at := space.InPage(inferior.PageAnswer)
	err := x.remote.WithTask([]*inferior.Process{p}, func(t *inferior.Task) error {
		_, err := x.remote.Call(t, ptrace.SysPrctl, ptrace.PrGetTSC, uint64(at))
		return err
	})
	var b [4]byte
	if err == nil && space.Memory.Read(at, b[:]) == nil {
		space.NoTime = b[0] == ptrace.PrTSCFaults
	}
	return space.NoTime
}

// errSealed says why a handler does not run in a program: the program would be killed for it. The
// engine runs it then.
var errSealed = errors.New("the program has forbidden itself (seccomp, syscall user dispatch, PR_SET_TSC) what the handler asks the kernel, or the clock")

// sealStrict is the seccomp mode that allows only read, write, exit and rt_sigreturn, and on amd64
// no rdtsc (prctl_set_seccomp, kernel/seccomp.c).
const sealStrict = 1

// lastSeal is the answer of seal for a process, and when it was given.
type lastSeal struct {
	of   *inferior.Process
	at   time.Time
	mode int
}

// seal returns the seccomp mode of those of a process's tasks that have forbidden themselves more
// than the tracer's own filter does; 0 if none has. It is asked for many sites at a time, so an
// answer is used again for 20 ms.
func (x *InProcess) seal(p *inferior.Process) (mode int) {
	const fresh = 20 * time.Millisecond
	if last := &x.lastSeal; last.of == p && time.Since(last.at) < fresh {
		return last.mode
	}
	ours, _ := remote.OwnSeccomp()
	for tid := range p.Tasks {
		theirs, err := remote.SeccompOf(tid)
		if err != nil || theirs.Mode == 0 || theirs == ours {
			continue
		}
		if mode == 0 || theirs.Mode == sealStrict {
			mode = theirs.Mode
		}
	}
	x.lastSeal.of, x.lastSeal.at, x.lastSeal.mode = p, time.Now(), mode
	return mode
}

// wouldAsk reports whether a handler's code in a process makes system calls. Most are made to read
// memory; latency reads memory in Go programs only. Threads find their ids in the table of threads,
// unless they have no thread pointers of their own.
func (x *InProcess) wouldAsk(p *inferior.Process, h *Handler, need []compile.Helper) bool {
	inGo := p.IsGo()
	return asksIDs(need) && (p.Space.Alike || inGo && !x.TakeThreadSlots()) ||
		slices.ContainsFunc(need, func(n compile.Helper) bool {
			switch n.Num {
			case program.FnProbeReadUser:
				return inGo || h.Kind != "latency"
			case program.FnProbeReadUserStr, program.FnCurrentUIDGID, program.FnCurrentComm, program.FnKtimeGetBootNS,
				program.FnSMPProcessorID: // amd64's code reads it without a call
				return true
			}
			return false
		})
}

// takesTime reports whether a handler's code reads the CPU's counter of time.
func takesTime(need []compile.Helper) bool {
	return slices.ContainsFunc(need, func(h compile.Helper) bool {
		return h.Num == program.FnKtimeGetNS || h.Num == program.FnPrandomU32
	})
}
