package engine

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// TestFail ends a session's thread in each way that it can be ended before its time: the
// requests are answered, the program goes on, the next tracer counts, and another session
// of the same process of the tracer's has not noticed.
func TestFail(t *testing.T) {
	want, _ := alone(t, "calls", "3", "300")
	for name, f := range map[string]func(s *session, pid int){
		"stuck": func(s *session, pid int) {
			s.loop.Hurry = 100
			_, _ = s.loop.Next(s.loop.Tasks[pid]) // that has no reason to stop
		},
		"stuck with others stopped": func(s *session, pid int) {
			s.loop.Hurry = 100
			s.loop.HaltAll([]*inferior.Process{s.loop.Procs[pid]})
			_ = s.loop.Unhalt(s.loop.Tasks[pid])
			_, _ = s.loop.Next(s.loop.Tasks[pid])
		},
		"panic":  func(s *session, pid int) { panic("as tested") },
		"Goexit": func(s *session, pid int) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			bystander := launch(t, "calls", "2", "300")
			other := attach(t, bystander.pid)
			counted := register(t, other, ProbeSpec{Location: "calls:step"})
			p := launch(t, "calls", "3", "300")
			text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
			s, err := Attach(context.Background(), p.pid)
			if err != nil {
				t.Fatal(err)
			}
			register(t, s, ProbeSpec{Location: "calls:step"})
			register(t, s, ProbeSpec{Location: "calls:leaf", Rung: breakpoint.Slot})
			late := make(chan error, 1)
			err = s.(*session).loop.Do(func() error {
				go func() { late <- s.Interrupt(p.pid) }() // in the queue, or too late for it
				f(s.(*session), p.pid)
				return nil
			})
			for _, err := range []error{err, <-late, s.Interrupt(p.pid)} {
				if !errors.Is(err, ErrFailed) || !errors.Is(err, ErrEnded) {
					t.Errorf("a request is answered with: %v", err)
				}
			}
			said := false
			for e := range s.Events(context.Background()) {
				said = said || e.Kind() == event.KindFailed
			}
			if !said {
				t.Error("the end was not told")
			}
			if err := s.Detach(); err != nil { // waits for the end of the thread
				t.Error(err)
			}
			next := attach(t, p.pid)
			id := register(t, next, ProbeSpec{Location: "calls:step"})
			p.goOn()
			until(t, "hits", func() bool { return next.Hits(id) == 900 })
			if err := next.Detach(); err != nil {
				t.Error(err)
			}
			if err := p.stopped(func() { isClean(t, p.pid, text, caught) }); err != nil {
				t.Log(err) // it was at its end
			}
			if out, status := p.end(); out != want || status != 0 {
				t.Errorf("the program said %q, status %d; alone %q", out, status, want)
			}
			bystander.goOn()
			until(t, "hits of the other session", func() bool { return other.Hits(counted) == 600 })
			_, _ = bystander.end()
		})
	}
}

// TestFailHits does it while hits come, and the program is at its own pace.
func TestFailHits(t *testing.T) {
	want, _ := alone(t, "threads", "3", "40000", "1000")
	p := launch(t, "threads", "3", "40000", "1000")
	p.goOn()
	for range 20 {
		if !ptrace.Exists(p.pid) {
			break
		}
		s, err := Attach(context.Background(), p.pid, Options{Follow: true})
		if err != nil {
			break // it has ended
		}
		_, _ = s.Register(ProbeSpec{Location: "threads:work"})
		_, _ = s.Register(ProbeSpec{Location: "threads:work+*", Rung: breakpoint.Slot})
		_ = s.(*session).loop.Do(func() error { s.(*session).loop.Fail(errors.New("as tested")); return nil })
		<-s.Done()
	}
	if out, status := p.end(); out != want || status != 0 {
		t.Errorf("the program said %q, status %d; alone %q", out, status, want)
	}
}
