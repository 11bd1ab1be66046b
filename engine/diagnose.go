package engine

import (
	"context"
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
	return append([]Finding{{Topic: "attach", OK: true, Text: fmt.Sprintf("%d (%s) can be traced", pid, procfs.Comm(pid))}}, remote.Findings(pid, sealed)...)
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
