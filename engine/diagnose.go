package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/procfs"
)

// The reasons why a process can't be attached, for errors.Is.
var (
	ErrTraced     = access.ErrTraced
	ErrCycle      = access.ErrCycle
	ErrSelf       = access.ErrSelf
	ErrKernel     = access.ErrKernel
	ErrZombie     = access.ErrZombie
	ErrYama       = access.ErrYama
	ErrOtherUser  = access.ErrOtherUser
	ErrCapability = access.ErrCapability
	ErrUndumpable = access.ErrUndumpable
	ErrNamespace  = access.ErrNamespace
	ErrWaited     = access.ErrWaited
	ErrMachine    = access.ErrMachine
	ErrFollowed   = access.ErrFollowed
)

// AttachError is the error of a refused attach: it says why, and what would help.
type AttachError = access.Error

// Finding is one line of a diagnosis.
type Finding = access.Finding

// Diagnose lists what stands in the way of tracing a process, or, with pid 0, any process of this
// machine.
func Diagnose(pid int) []Finding {
	if pid != 0 {
		return diagnoseProcess(pid)
	}
	return access.Machine(func() error {
		s, err := Start(context.Background(), Command{Path: "/proc/self/exe"})
		if err == nil {
			_ = s.Kill()
		}
		return err
	})
}

// refuse returns an error if an attach to a process is impossible or does harm.
func refuse(pid int) error { return access.Refuse(pid, hostISA().Machine()) }

func diagnoseProcess(pid int) []Finding {
	err := refuse(pid)
	var sealed error
	if err == nil {
		sealed, err = trial(pid)
	}
	if err != nil {
		return []Finding{access.Refused(err)}
	}
	return append([]Finding{{Topic: "attach", OK: true, Text: fmt.Sprintf("%d (%s) can be traced", pid, procfs.Comm(pid))}}, sealFindings(pid, sealed)...)
}

// trial attaches to a process and lets it go at once. The process stands only for the moment of the
// detach. sealed says why the process could not be probed; err why it can't be attached.
func trial(pid int) (sealed, err error) {
	opened, err := Attach(context.Background(), pid)
	if err != nil {
		return nil, err
	}
	s := opened.(*session)
	_ = s.loop.Do(func() error {
		if p := s.loop.Procs[pid]; p != nil {
			sealed = s.remote.WithTask([]*inferior.Process{p}, s.remote.Try)
		}
		return nil
	})
	return sealed, s.Detach()
}

const seccompHelp = "run as root (CAP_SYS_ADMIN), outside of containers; with that the filter is suspended for those calls, " +
	"if the kernel has CONFIG_CHECKPOINT_RESTORE and the tracer no filter itself"

// sealFindings returns the findings about a process that has forbidden itself system calls. sealed
// is the error of an attempt to have it make a call for the tracer.
func sealFindings(pid int, sealed error) []Finding {
	f := Finding{Topic: "seccomp", OK: true, Text: "its filter is suspended for the system calls that probes need"}
	switch {
	case errors.Is(sealed, remote.ErrDispatch):
		f = Finding{Topic: "dispatch", Text: "it can't be probed: " + remote.ErrDispatch.Error(), Help: "use a newer kernel"}
	case errors.Is(sealed, remote.ErrSeccomp):
		f.OK, f.Text, f.Help = false, "it can't be probed: a filter of its own may kill it for the system calls that probes need", seccompHelp
	case !hasSeal(pid):
		return nil
	case remote.CheckSeccomp(pid) == nil:
		f.Text = "it lives under the filter that ptracer lives under, too"
	}
	return []Finding{f}
}

// hasSeal reports whether a process has forbidden itself system calls.
func hasSeal(pid int) bool {
	st, err := procfs.ReadStatus(pid)
	return err == nil && st.Number("Seccomp") != 0
}
