package engine

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/internal/skip"
)

// Programs with syscall user dispatch: their system calls come back to them.

// dispatching launches the fixture "dispatch".
func dispatching(t *testing.T, when string) *running {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		skip.Missing(t, "system calls that come back (amd64)")
	}
	return launch(t, "dispatch", "100", when)
}

func endsDispatching(t *testing.T, p *running) {
	t.Helper()
	p.goOn()
	if out, status := p.end(); status != 0 || out != "calls 100\nback 0\n" {
		t.Errorf("%q, status %d", out, status)
	}
}

// dispatchIn reads what a traced process's task has set.
func dispatchIn(t *testing.T, s Session, pid int) (d ptrace.Dispatch) {
	t.Helper()
	err := s.(*session).loop.Do(func() error {
		return s.(*session).remote.WithTask([]*inferior.Process{s.(*session).loop.Procs[pid]}, func(task *inferior.Task) (err error) {
			d, err = ptrace.GetDispatch(task.TID)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDispatch attaches twice to a program with syscall user dispatch. The calls that the tracer
// has it make do not come back to it, and its own still do.
func TestDispatch(t *testing.T) {
	p := dispatching(t, "early")
	text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
	for range 2 {
		s := attach(t, p.pid)
		before := dispatchIn(t, s, p.pid)
		register(t, s, ProbeSpec{Location: "work"})
		if after := dispatchIn(t, s, p.pid); !before.On() || before.Len == 0 || after != before {
			t.Errorf("%+v, then %+v", before, after)
		}
		detach(t, s)
		isClean(t, p.pid, text, caught)
	}
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "work"})
	endsDispatching(t, p)
	if hits := s.Hits(id); hits != 100 {
		t.Errorf("%d hits", hits)
	}
}

// TestDispatchUnknown is on a kernel that can't suspend that: nothing is done.
func TestDispatchUnknown(t *testing.T) {
	remote.GetDispatch = func(task int) (ptrace.Dispatch, error) {
		return ptrace.Dispatch{}, &ptrace.Error{Op: "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG", Task: task, Errno: unix.EIO}
	}
	defer func() { remote.GetDispatch = ptrace.GetDispatch }()
	p := dispatching(t, "early")
	text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
	s := attach(t, p.pid)
	if _, err := s.Register(ProbeSpec{Location: "work"}); !errors.Is(err, remote.ErrDispatch) {
		t.Errorf("registered: %v", err)
	}
	_ = s.Detach()
	if f := Diagnose(p.pid); len(f) != 2 || f[1].OK || f[1].Topic != "dispatch" {
		t.Errorf("%+v", f)
	}
	isClean(t, p.pid, text, caught)
	endsDispatching(t, p)
}

// TestDispatchLate has a program set that when it is probed by jumps and traps, with a
// gate before its rt_sigaction calls, and a handler that asks the kernel.
func TestDispatchLate(t *testing.T) {
	for _, where := range []string{"work", "libc:*sigaction+*"} {
		p := dispatching(t, "late")
		s := attach(t, p.pid)
		h := openHandler(t, s, HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"load8(arg1)"}}})
		texts := register(t, s, ProbeSpec{Location: "work", Handler: h})
		count := register(t, s, ProbeSpec{Location: "work"})
		others := register(t, s, ProbeSpec{Location: where})
		endsDispatching(t, p)
		if c := resultOf(t, h).(map[string]any)["count"].(float64); c != 100 || s.Hits(texts) != 100 || s.Hits(count) != 100 || s.Hits(others) < 100 {
			t.Errorf("%s: %v values, %d, %d and %d hits", where, c, s.Hits(texts), s.Hits(count), s.Hits(others))
		}
	}
}

// TestForbids has programs forbid themselves what code behind jumps relies on: the
// counter of time, a thread pointer that leads somewhere.
func TestForbids(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		skip.Missing(t, "a counter of time that can be forbidden (amd64)")
	}
	for _, how := range []string{"early", "late", "zero", "bad", "child"} {
		t.Run(how, func(t *testing.T) {
			p := launch(t, "forbids", "200", how)
			s := attach(t, p.pid, Options{Follow: true})
			count := register(t, s, ProbeSpec{Location: "work"})
			h := openHandler(t, s, HandlerSpec{Name: "latency"})
			if how == "early" || how == "late" {
				register(t, s, ProbeSpec{Location: "work", Handler: h})
			}
			p.goOn()
			if out, status := p.end(); status != 0 || out != "calls 200\n" {
				t.Errorf("%q, status %d", out, status)
			}
			if hits := s.Hits(count); hits != 200 {
				t.Errorf("%d hits", hits)
			}
			if how == "early" || how == "late" {
				if c := resultOf(t, h).(map[string]any)["count"].(float64); c != 200 {
					t.Errorf("%v calls have times", c)
				}
			}
		})
	}
}
