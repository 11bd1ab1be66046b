package engine

import (
	"errors"
	"slices"
	"time"

	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/remote"
)

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
func (s *session) seal(p *inferior.Process) (mode int) {
	const fresh = 20 * time.Millisecond
	if last := &s.lastSeal; last.of == p && time.Since(last.at) < fresh {
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
	s.lastSeal.of, s.lastSeal.at, s.lastSeal.mode = p, time.Now(), mode
	return mode
}

// wouldAsk is whether a handler's code in a process makes system calls for what it is
// to tell: to read memory above all, which latency does in Go programs alone. Threads
// find their ids in the table of threads, but where they have no pointers of their own.
func (s *session) wouldAsk(p *inferior.Process, h *opened, need []compile.Helper) bool {
	inGo := p.IsGo()
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

// takesTime is whether a handler's code reads the CPU's clock.
func takesTime(need []compile.Helper) bool {
	return slices.ContainsFunc(need, func(h compile.Helper) bool {
		return h.Num == program.FnKtimeGetNS || h.Num == program.FnPrandomU32
	})
}
