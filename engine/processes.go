package engine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/aside"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/symbols"
)

// AddProcess implements Session.
func (s *session) AddProcess(pid int) error {
	if err := refuse(pid); err != nil {
		return err
	}
	return s.loop.Do(func() error { return s.life.Attach(context.Background(), pid, nil) })
}

// start starts a program. It stands before its first instruction until Resume.
func (s *session) start(ctx context.Context, cmd Command) error {
	path, err := exec.LookPath(cmd.Path)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return err
	}
	files, closeNull, err := ptrace.Files(cmd.Stdin, cmd.Stdout, cmd.Stderr)
	if err != nil {
		return err
	}
	defer closeNull()
	c := ptrace.Command{Path: path, Args: append([]string{cmd.Path}, cmd.Args...), Env: cmd.Env,
		Dir: cmd.Dir, Files: files, NoASLR: cmd.NoASLR, Ignored: ptrace.IgnoredAtStart()}
	return s.loop.Do(func() error {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("start %s: %w", cmd.Path, err)
		}
		pid, err := ptrace.Launch(c, ptrace.Follow|ptrace.BeforeExit)
		if err != nil {
			return access.ExplainOwn(err)
		}
		return s.life.AdoptChild(pid)
	})
}

// Detach implements Session.
func (s *session) Detach() error {
	err := s.loop.Do(func() error {
		var errs []error
		for len(s.loop.Procs) > 0 {
			for _, p := range s.loop.Procs {
				errs = append(errs, s.life.Release(p))
				break
			}
		}
		errs = append(errs, s.aside.EndLoans())
		s.loop.Ending = true
		return errors.Join(errs...)
	})
	if errors.Is(err, ErrEnded) {
		err = nil
	}
	<-s.done
	return err
}

// RemoveProcess implements Session.
func (s *session) RemoveProcess(pid int) error {
	return s.loop.Do(func() error {
		if s.life.Lent[pid] {
			return s.aside.EndLoan(pid)
		}
		p, err := s.process(pid)
		if err != nil {
			return err
		}
		return s.life.Release(p)
	})
}

// Kill implements Session.
func (s *session) Kill() error {
	_ = s.loop.Do(func() error {
		for pid := range s.life.Started {
			if s.loop.Procs[pid] != nil {
				_ = ptrace.Kill(pid)
			}
		}
		return nil
	})
	return s.Detach()
}

// Follow implements Session.
func (s *session) Follow(pid int, on bool) error {
	return s.loop.Do(func() error {
		p, err := s.process(pid)
		switch {
		case err != nil:
			return err
		case on && s.opts.Resident:
			return resident.ErrOneProcess
		}
		p.Follow = on
		return nil
	})
}

// StepAside implements Session.
func (s *session) StepAside(pid int, wait time.Duration, opts ...AsideOptions) error {
	return s.loop.Do(func() error {
		if s.aside.WaitAgain(pid, wait) || wait <= 0 { // a wait of 0 for a process that is back has nothing to do
			return nil
		}
		p, err := s.process(pid)
		if err != nil {
			return err
		}
		keep := false
		for _, o := range opts {
			keep = o.KeepJumps
		}
		return s.aside.Lend(p, wait, keep)
	})
}

// Processes implements Session.
func (s *session) Processes() (pids []int) {
	_ = s.loop.Do(func() error {
		for pid, p := range s.loop.Procs {
			if !p.Silent {
				pids = append(pids, pid)
			}
		}
		for pid := range s.life.Lent {
			pids = append(pids, pid)
		}
		return nil
	})
	return pids
}

// Exit implements Session.
func (s *session) Exit(pid int) (e Exit, ok bool) {
	get := func() error { e, ok = s.life.Exits[pid]; return nil }
	if errors.Is(s.loop.Do(get), ErrEnded) {
		<-s.done // the thread has ended: this goroutine may read the fields
		_ = get()
	}
	return e, ok
}

// process returns a process that clients may ask about.
func (s *session) process(pid int) (*inferior.Process, error) {
	if p := s.loop.Procs[pid]; p != nil && !p.Silent {
		return p, nil
	}
	if s.life.Lent[pid] {
		return nil, fmt.Errorf("process %d: %w", pid, aside.ErrAside)
	}
	return nil, fmt.Errorf("%d: %w", pid, ErrNoProcess)
}

// Symbolize implements Session.
func (s *session) Symbolize(pid int, addr arch.Addr) (sym Symbol, ok bool) {
	var m *symbols.Module
	s.look(func() { m = s.objects.At(pid, addr) })
	if m == nil {
		return sym, false
	}
	sym = Symbol{Binary: m.Base(), Path: m.Path, BuildID: m.File.BuildID(), Start: m.Start, End: m.End, Offset: addr - m.Start}
	for _, r := range m.Ranges {
		if r.Contains(addr) {
			sym.Start, sym.End, sym.FileOffset = r.Start, r.End, r.Offset
			sym.Offset = addr - r.Start
		}
	}
	if fn, ok := m.File.FunctionAt(m.Vaddr(addr)); ok {
		sym.Function, sym.Offset = fn.Name, m.Vaddr(addr)-fn.Addr
	}
	return sym, true
}
