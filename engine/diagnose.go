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

// Why a process can't be attached.
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

// AttachError says why a process can't be attached, and what would help.
type AttachError = access.Error

// Finding is one line of a diagnosis.
type Finding = access.Finding

// Diagnose says what stands in the way of tracing: on this machine with pid 0,
// else of this process.
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

// refuse finds what makes an attach impossible or harmful.
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

// trial attaches and lets go at once; the process does not stop for it but for
// the moment of detaching. What is in the way of probes is another matter.
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

// sealFindings are about a process that has forbidden itself system calls; sealed is
// what is in the way of having it make ptracer's.
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
