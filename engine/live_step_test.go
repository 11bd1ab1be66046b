package engine

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// pcOf is where a stopped task is shown.
func pcOf(t testing.TB, s Session, tid int) arch.Addr {
	t.Helper()
	r, err := s.Registers(tid)
	if err != nil {
		t.Fatal(err)
	}
	return arch.Addr(r[s.ISA().PCReg()])
}

// TestStep goes through a function one instruction at a time, whatever serves
// the probes on all of them: each step is one hit of what it has executed.
func TestStep(t *testing.T) {
	for _, rung := range []breakpoint.Rung{breakpoint.Auto, breakpoint.Slot} {
		t.Run(rung.String(), func(t *testing.T) {
			want, _ := alone(t, "loop", "20")
			p := launch(t, "loop", "20")
			s := attach(t, p.pid)
			all := register(t, s, ProbeSpec{Location: "work+*", Rung: rung})
			stop := register(t, s, ProbeSpec{Location: "work", Action: ActionStop})
			at := s.Placements(all)
			p.goOn()
			for range 5 {
				e, here := poll[*event.Stopped](t, s)
				inside := func(pc arch.Addr) bool { return pc >= at[0].Addr && pc <= at[len(at)-1].Addr }
				before, n := s.Hits(all), uint64(1)
				for pc := here.Addr; ; n++ {
					if err := s.Step(e.TID); err != nil {
						t.Fatal(err)
					}
					if next, at := poll[*event.Stopped](t, s); next.TID != e.TID || at.Addr == pc {
						t.Errorf("from %v to %+v, task %d", pc, at, next.TID)
					}
					if pc = pcOf(t, s, e.TID); !inside(pc) {
						break
					}
				}
				if got := s.Hits(all) - before + 1; got != n || n < 2 {
					t.Errorf("%d hits in %d steps", got, n)
				}
				if err := s.Resume(e.TID); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Unregister(stop); err != nil {
				t.Error(err)
			}
			_ = s.Resume(p.pid)
			if out, status := p.end(); out != want || status != 0 {
				t.Errorf("%q, status %d, want %q", out, status, want)
			}
			for _, pl := range s.Placements(all) {
				if pl.Hits != 20 {
					t.Errorf("%s: %d hits, want 20", pl.Name, pl.Hits)
				}
			}
		})
	}
}

// TestStepFar steps out of a function, into libc and through what it does there,
// with probes on the way that stop the task.
func TestStepFar(t *testing.T) {
	want, _ := alone(t, "loop", "3", "1")
	p := launch(t, "loop", "3", "1")
	s := attach(t, p.pid)
	register(t, s, ProbeSpec{Location: "work", Action: ActionStop})
	sleep := register(t, s, ProbeSpec{Location: "libc:usleep", Action: ActionStop})
	p.goOn()
	e, _ := poll[*event.Stopped](t, s)
	for n := 0; ; n++ {
		if err := s.Step(e.TID); err != nil {
			t.Fatalf("step %d, at %v: %v", n, pcOf(t, s, e.TID), err)
		}
		if _, at := poll[*event.Stopped](t, s); at.Probe == sleep {
			break
		}
		if n == 2000 {
			t.Fatal("no end")
		}
	}
	if n := s.Hits(sleep); n != 1 {
		t.Errorf("%d hits of usleep", n)
	}
	for range 50 { // the system call, too
		if err := s.Step(e.TID); err != nil && !errors.Is(err, tasks.ErrWaiting) {
			t.Fatal(err)
		}
	}
	detach(t, s)
	if out, status := p.end(); out != want || status != 0 {
		t.Errorf("%q, status %d, want %q", out, status, want)
	}
}

// TestStepRefused steps what can't be.
func TestStepRefused(t *testing.T) {
	p := launch(t, "loop", "10", "1000")
	s := attach(t, p.pid)
	if err := s.Step(p.pid); !errors.Is(err, ErrNotStopped) {
		t.Errorf("running: %v", err)
	}
	if err := s.Step(1); !errors.Is(err, ErrGone) {
		t.Errorf("another's: %v", err)
	}
	until(t, "its read", func() bool { return inRead(p.pid) })
	if err := s.InterruptTask(p.pid); err != nil {
		t.Fatal(err)
	}
	if err := s.Step(p.pid); !errors.Is(err, tasks.ErrWaiting) {
		t.Errorf("in a system call: %v", err)
	}
	p.goOn()
	if err := s.Resume(p.pid); err != nil {
		t.Error(err)
	}
	if _, status := p.end(); status != 0 {
		t.Errorf("status %d", status)
	}
}

// TestInterruptTask stops one thread of several, and lets the leader go alone.
func TestInterruptTask(t *testing.T) {
	p := launch(t, "threads", "3", "2000000", "100")
	s := attach(t, p.pid)
	p.goOn()
	var tids []int
	until(t, "threads", func() bool {
		tasks, err := s.Tasks(p.pid)
		if err != nil {
			t.Fatal(err)
		}
		tids = nil
		for _, x := range tasks {
			tids = append(tids, x.TID)
		}
		return len(tids) == 4
	})
	stopped := func() (list []int) {
		tasks, err := s.Tasks(p.pid)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range tasks {
			if x.Stopped {
				list = append(list, x.TID)
			}
		}
		return list
	}
	if err := s.InterruptTask(tids[2]); err != nil {
		t.Fatal(err)
	}
	if e, _ := poll[*event.Stopped](t, s); e.TID != tids[2] || !slices.Equal(stopped(), tids[2:3]) {
		t.Errorf("told %+v, stopped %v, want %d", e, stopped(), tids[2])
	}
	if err := s.Interrupt(p.pid); err != nil {
		t.Fatal(err)
	}
	if err := s.ResumeTask(p.pid); err != nil || !slices.Equal(stopped(), tids[1:]) {
		t.Errorf("%v, stopped %v, want %v", err, stopped(), tids[1:])
	}
	if err := (shared{s.(*session)}).ResumeTaskIf(tids[1], func() bool { return false }); err != nil || !slices.Equal(stopped(), tids[1:]) {
		t.Errorf("%v, stopped %v, want %v", err, stopped(), tids[1:])
	}
	if err := s.ResumeTask(p.pid); !errors.Is(err, ErrNotStopped) {
		t.Errorf("resumed twice: %v", err)
	}
	if err := errors.Join(s.InterruptTask(1), s.ResumeTask(1)); !errors.Is(err, ErrGone) {
		t.Errorf("another's: %v", err)
	}
	if err := s.Resume(p.pid); err != nil {
		t.Error(err)
	}
	if out, status := p.end(); said(t, out, "calls") != 6000000 || status != 0 {
		t.Errorf("%q, status %d", out, status)
	}
}

// TestSignals sends signals to a program, which meets them when it goes on, and
// takes one away.
func TestSignals(t *testing.T) {
	for _, drop := range []bool{true, false} {
		p := launch(t, "loop", "3", "1")
		s := attach(t, p.pid, Options{Signals: true})
		register(t, s, ProbeSpec{Location: "work"}) // a task's calls for the tracer meet signals, too
		if err := s.Interrupt(p.pid); err != nil {
			t.Fatal(err)
		}
		if err := s.DropSignal(p.pid); !errors.Is(err, errNoSignal) {
			t.Errorf("nothing to take away: %v", err)
		}
		if err := s.Signal(p.pid, 65); !errors.Is(err, errSignal) {
			t.Errorf("signal 65: %v", err)
		}
		if err := s.Signal(p.pid, int(syscall.SIGTERM)); err != nil {
			t.Fatal(err)
		}
		if err := s.Step(p.pid); err != nil {
			t.Fatal(err)
		}
		if _, b := poll[*event.Signal](t, s); b.Signal != int(syscall.SIGTERM) {
			t.Errorf("told %+v", b)
		}
		tasks, err := s.Tasks(p.pid)
		if err != nil || !tasks[0].Stopped || tasks[0].Signal != int(syscall.SIGTERM) {
			t.Errorf("%+v, %v", tasks, err)
		}
		if drop {
			if err := s.DropSignal(p.pid); err != nil {
				t.Error(err)
			}
		}
		if err := s.Resume(p.pid); err != nil {
			t.Error(err)
		}
		if drop { // else the program has been killed
			p.goOn()
		}
		if _, status := p.end(); (status == 0) != drop {
			t.Errorf("status %d, dropped %v", status, drop)
		}
	}
}
