package engine

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/procfs"
)

// state waits until a process's leader has one of some states.
func (p *running) state(states string) {
	p.t.Helper()
	until(p.t, "state "+states, func() bool { return strings.IndexByte(states, procfs.State(p.pid)) >= 0 })
}

func (p *running) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.pid, sig); err != nil {
		p.t.Error(err)
	}
}

// still says whether a counter stands still.
func still(count func() uint64) bool {
	before := count()
	time.Sleep(30 * time.Millisecond)
	return count() == before
}

// TestJobControl stops and continues a probed program by signals: it stays
// stopped, for its parent too, until it is continued.
func TestJobControl(t *testing.T) {
	t.Run("traps", func(t *testing.T) { jobControl(t, breakpoint.Slot) })
	t.Run("jumps", func(t *testing.T) { jobControl(t, breakpoint.Auto) })
}

func jobControl(t *testing.T, rung breakpoint.Rung) {
	// More calls than it can make meanwhile: it is killed in the end.
	for name, args := range map[string][]string{"loop": {"100000000", "200"}, "threads": {"3", "100000000", "2000"}} {
		p := launch(t, name, args...)
		s := attach(t, p.pid)
		id := register(t, s, ProbeSpec{Location: "work", Rung: rung})
		hits := func() uint64 { return s.Hits(id) }
		p.goOn()
		for range 5 {
			until(t, "hits", func() bool { return !still(hits) })
			p.signal(syscall.SIGSTOP)
			p.state("Tt")
			until(t, "it stands", func() bool { return still(hits) })
			p.signal(syscall.SIGCONT)
			p.state("RSDt")
		}
		p.kill()
		p.done = nil
	}
}

// TestStopped attaches to a stopped process, detaches from one: it stays so.
func TestStopped(t *testing.T) {
	p := launch(t, "loop", "2000", "500")
	want := uint64(2000)
	p.signal(syscall.SIGSTOP)
	p.state("T")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "work"})
	p.goOn()
	if got := procfs.State(p.pid); got != 't' && got != 'T' || s.Hits(id) != 0 {
		t.Errorf("state %c after attach", got)
	}
	detach(t, s)
	p.state("T")
	s = attach(t, p.pid)
	id = register(t, s, ProbeSpec{Location: "work"})
	p.signal(syscall.SIGCONT)
	until(t, "hits", func() bool { return s.Hits(id) > 5 })
	p.signal(syscall.SIGSTOP) // SIGTSTP does not stop an orphaned process group
	until(t, "it stands", func() bool { return still(func() uint64 { return s.Hits(id) }) })
	register(t, s, ProbeSpec{Location: "main"})
	detach(t, s)
	p.state("T")
	p.signal(syscall.SIGCONT)
	if out, status := p.end(); said(t, out, "calls") != want || status != 0 {
		t.Errorf("%q, status %d", out, status)
	}
}

// TestKilled kills a process that stands at a probe.
func TestKilled(t *testing.T) {
	p := launch(t, "threads", "4", "100")
	s := attach(t, p.pid, Options{Life: true})
	register(t, s, ProbeSpec{Location: "work", Action: ActionStop})
	p.goOn()
	stop, _ := poll[*event.Stopped](t, s)
	p.signal(syscall.SIGKILL)
	if e, b := poll[*event.Exit](t, s); b.Signal != int(syscall.SIGKILL) || e.PID != p.pid {
		t.Errorf("%+v of process %d", b, e.PID)
	}
	if _, err := s.Registers(stop.TID); err == nil {
		t.Error("registers of a dead task")
	}
	if _, status := p.end(); status != 128+int(syscall.SIGKILL) {
		t.Errorf("status %d", status)
	}
}

// TestSleeps disturbs sleeping programs in all ways there are: no sleep is cut
// short, none sees an EINTR, and the whole takes as long as it should.
func TestSleeps(t *testing.T) {
	for _, how := range []string{"nanosleep", "poll", "futex"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			const ms, n = 40, 12
			p := launch(t, "sleeper", how, fmt.Sprint(ms), fmt.Sprint(n))
			p.goOn()
			start := time.Now()
			want := fmt.Sprintf("sleeps %d\ninterrupted 0\nshort 0\n", n)
			for disturb(t, p.pid) {
			}
			out, status := p.end()
			if out != want || status != 0 {
				t.Errorf("%q, status %d, want %q", out, status, want)
			}
			if took := time.Since(start); took > 20*ms*n*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// disturb attaches, plants, interrupts, resumes and detaches; false when the
// process has gone.
func disturb(t *testing.T, pid int) bool {
	s, err := Attach(context.Background(), pid)
	if err != nil {
		return false
	}
	id, err := s.Register(ProbeSpec{Location: "nap+*"})
	ok := err == nil
	ok = ok && s.Interrupt(pid) == nil
	ok = ok && s.Resume(pid) == nil
	ok = ok && s.Unregister(id) == nil
	if err := s.Detach(); err != nil {
		t.Error(err)
	}
	return ok
}

// TestPause leaves a program in pause undisturbed until its signal comes.
func TestPause(t *testing.T) {
	p := launch(t, "sleeper", "pause")
	p.goOn()
	for range 5 {
		p.state("S")
		if !disturb(t, p.pid) {
			t.Fatal("it has gone")
		}
	}
	p.signal(syscall.SIGTERM)
	if out, status := p.end(); status != 128+int(syscall.SIGTERM) {
		t.Errorf("%q, status %d", out, status)
	}
}
