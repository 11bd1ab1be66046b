package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

func newTable(isa arch.ISA, mem *ptrace.Memory, m breakpoint.Mapper) *breakpoint.Table {
	return breakpoint.New(isa, mem, m)
}

// AddProcess implements Session.
func (s *session) AddProcess(pid int) error {
	if err := refuse(pid); err != nil {
		return err
	}
	return s.loop.Do(func() error { return s.attach(pid, nil) })
}

// back is what a process had that comes back.
type back struct {
	ancestors []int
	follow    bool
}

// attach seizes every task of a process, in passes until one finds nothing
// new. No task is stopped by it, unless the process is one that we come back to.
func (s *session) attach(pid int, back *back) error {
	if s.loop.Procs[pid] != nil || s.lent[pid] {
		return fmt.Errorf("attach to %d: it is in this session already", pid)
	}
	mem, err := ptrace.OpenMemory(procfs.LiveTask(pid))
	if err != nil {
		return access.Explain(pid, err)
	}
	p := s.addProcess(pid, &inferior.Space{})
	s.newSpace(p, mem)
	if err := s.seizeAll(p); err != nil {
		s.abandon(p)
		return access.Explain(pid, err)
	}
	// It may have executed another program before it was ours.
	if mem, err = ptrace.OpenMemory(procfs.LiveTask(pid)); err != nil {
		s.abandon(p)
		return access.Explain(pid, err)
	}
	_ = p.Space.Memory.Close()
	s.newSpace(p, mem)
	if back != nil {
		p.Ancestors, p.Follow = back.ancestors, back.follow
		s.loop.HaltAll([]*inferior.Process{p}) // until the new probes have taken the place of those that stayed
		defer s.loop.UnhaltAll(p)
	}
	switch err = s.recover(p); {
	case errors.Is(err, ErrResident):
		s.abandon(p)
		return access.Resident(pid)
	case errors.Is(err, errComesBack):
		s.abandon(p)
		return fmt.Errorf("attach to %d: %w", pid, err)
	case err != nil && !ptrace.IsGone(err) && !errors.Is(err, os.ErrNotExist): // else its end is told next
		s.warn(p, "clean up after an earlier tracer: %v", err)
	}
	if err := s.attached(pid); err != nil {
		s.abandon(p)
		return err
	}
	s.rescan(p)
	return nil
}

func (s *session) seizeAll(p *inferior.Process) error {
	for {
		tids, err := procfs.Tasks(p.PID)
		if err != nil {
			return err
		}
		found := false
		for _, tid := range tids {
			if p.Tasks[tid] != nil {
				continue
			}
			err := ptrace.Seize(tid, (&inferior.Task{TID: tid, Process: p}).Options())
			if errors.Is(err, ptrace.ErrNotPermitted) && s.comesByItself(p, tid) {
				continue // cloned by a task that we have: its event is on its way
			}
			if err != nil && hasEnded(p.PID, tid, err) {
				continue
			}
			if err != nil {
				return err
			}
			found = true
			s.loop.Add(p, tid, false)
		}
		if !found {
			if len(p.Tasks) == 0 {
				return ptrace.ErrGone
			}
			return nil
		}
	}
}

// hasEnded is whether a task that could not be seized has ended. The kernel does not permit
// it from then on (exit_state in ptrace_attach, kernel/ptrace.c), and a thread is gone by the
// time that it is looked at.
func hasEnded(pid, tid int, err error) bool {
	state := procfs.State(tid)
	return state == 'Z' || tid != pid && (errors.Is(err, ptrace.ErrGone) || state == 'X' || state == 0)
}

// comesByItself says whether a task that could not be seized is traced by us
// already, its clone event not yet waited for.
func (s *session) comesByItself(p *inferior.Process, tid int) bool {
	return procfs.Tracer(tid) == ptrace.ThreadID() && tid != p.PID
}

// abandon lets go of tasks that were seized before the attach failed.
func (s *session) abandon(p *inferior.Process) {
	for _, t := range p.Tasks {
		if s.loop.Halt(t) == nil {
			_ = ptrace.Detach(t.TID, 0)
		}
		delete(s.loop.Tasks, t.TID)
	}
	if s.loop.Procs[p.PID] == p {
		s.leaveSpace(p)
		delete(s.loop.Procs, p.PID)
	}
}

// start launches a program; it stands, held for the tracer, before its first
// instruction.
func (s *session) start(cmd Command) error {
	path, err := exec.LookPath(cmd.Path)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return err
	}
	files, closeNull, err := filesOf(&cmd)
	if err != nil {
		return err
	}
	defer closeNull()
	c := ptrace.Command{Path: path, Args: append([]string{cmd.Path}, cmd.Args...), Env: cmd.Env,
		Dir: cmd.Dir, Files: files, NoASLR: cmd.NoASLR, Ignored: ptrace.IgnoredAtStart()}
	return s.loop.Do(func() error {
		pid, err := ptrace.Launch(c, ptrace.Follow|ptrace.BeforeExit)
		if err != nil {
			return access.ExplainOwn(err)
		}
		return s.adoptChild(pid)
	})
}

func (s *session) adoptChild(pid int) error {
	mem, err := ptrace.OpenMemory(pid)
	if err != nil {
		ptrace.Reap(pid)
		return err
	}
	if err := s.attached(pid); err != nil {
		ptrace.Reap(pid)
		return err
	}
	s.started[pid] = true
	p := s.addProcess(pid, &inferior.Space{})
	s.newSpace(p, mem)
	t := s.loop.Add(p, pid, false)
	t.Begin(ptrace.Stop{Kind: ptrace.Exec, Task: pid})
	t.User = true
	s.rescan(p)
	return nil
}

// filesOf are the descriptors of a new program, /dev/null where none is given.
func filesOf(c *Command) (fds []uintptr, done func(), err error) {
	var null *os.File
	done = func() {
		if null != nil {
			null.Close()
		}
	}
	for _, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		if f == nil {
			if null == nil {
				if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
					return nil, done, err
				}
			}
			f = null
		}
		fds = append(fds, f.Fd())
	}
	return fds, done, nil
}
