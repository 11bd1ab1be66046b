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

// noTime is whether the CPU's counter of time is forbidden to a process. What is true of
// one task holds for those that it has made; one that forbids it later is seen.
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

// errSealed is why a handler does not run in a program: it would be killed for it. The
// engine runs it then.
var errSealed = errors.New("the program has forbidden itself (seccomp, syscall user dispatch, PR_SET_TSC) what the handler asks the kernel, or the clock")

// sealStrict is the mode that allows read, write, exit and rt_sigreturn alone, and on
// amd64 no rdtsc (prctl_set_seccomp, kernel/seccomp.c).
const sealStrict = 1

// lastSeal is the seal that was looked at last.
type lastSeal struct {
	of   *inferior.Process
	at   time.Time
	mode int
}

// seal is the mode of a process's tasks that have forbidden themselves more than we
// live under; 0 if none has. It is looked at for many sites at a time.
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

// wouldAsk is whether a handler's code in a process makes system calls for what it is
// to tell: to read memory above all, which latency does in Go programs alone. Threads
// find their ids in the table of threads, but where they have no pointers of their own.
func (x *InProcess) wouldAsk(p *inferior.Process, h *Handler, need []compile.Helper) bool {
	inGo := p.IsGo()
	return asksIDs(need) && (p.Space.Alike || inGo && !x.TakeLines()) ||
		slices.ContainsFunc(need, func(n compile.Helper) bool {
			switch n.Num {
			case program.FnProbeReadUser:
				return inGo || h.Kind != "latency"
			case program.FnProbeReadUserStr, program.FnCurrentUIDGID, program.FnCurrentComm, program.FnKtimeGetBootNS,
				program.FnSMPProcessorID: // amd64's compiler has that itself
				return true
			}
			return false
		})
}

// takesTime is whether a handler's code reads the CPU's clock.
func takesTime(need []compile.Helper) bool {
	return slices.ContainsFunc(need, func(h compile.Helper) bool {
		return h.Num == program.FnKtimeGetNS || h.Num == program.FnPrandomU32
	})
}
