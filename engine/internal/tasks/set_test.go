package tasks

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// session is a Decider that traces nothing, and notes how it ends.
type session struct {
	failed []error
	closed int
	ended  chan bool // whether before its time
}

func (d *session) Decide(*inferior.Task, ptrace.Stop) error           { return nil }
func (d *session) Stray(ptrace.Stop) bool                             { return false }
func (d *session) Orphan(int)                                         {}
func (d *session) Exiting(*inferior.Task) error                       { return nil }
func (d *session) Continue(t *inferior.Task, s ptrace.Signo) error    { return ptrace.Cont(t.TID, s) }
func (d *session) Idle()                                              {}
func (d *session) Warn(p *inferior.Process, text string, args ...any) {}
func (d *session) Failed(why error)                                   { d.failed = append(d.failed, why) }
func (d *session) Closed()                                            { d.closed++ }
func (d *session) End(failed bool)                                    { d.ended <- failed }

// begin starts a session's thread.
func begin(t *testing.T) (*Set, *session) {
	t.Helper()
	d := &session{ended: make(chan bool, 1)}
	s := New(d)
	ready := make(chan error)
	go s.Run(ready)
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return s, d
}

// TestDo has many goroutines ask at once: each request is done once, on one thread, and none
// behind the session's end.
func TestDo(t *testing.T) {
	s, d := begin(t)
	const askers, each = 20, 50
	done, threads := 0, map[int]bool{}
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			for range each {
				if err := s.Do(func() error { done++; threads[ptrace.ThreadID()] = true; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	told := errors.New("told")
	if err := s.Do(func() error { return told }); err != told {
		t.Errorf("a request's error is %v", err)
	}
	if err := s.Do(func() error { s.Ending = true; return nil }); err != nil {
		t.Error(err)
	}
	if failed := <-d.ended; failed || d.closed != 1 || len(d.failed) != 0 {
		t.Errorf("the end: before its time %v, closed %d times, failed %v", failed, d.closed, d.failed)
	}
	if err := s.Do(func() error { done++; return nil }); !errors.Is(err, ErrEnded) || errors.Is(err, ErrFailed) {
		t.Errorf("behind the end: %v", err)
	}
	if done != askers*each || len(threads) != 1 {
		t.Errorf("%d requests of %d, on %d threads", done, askers*each, len(threads))
	}
}

// TestFail ends the thread before its time: what was asked for, before and behind it, is
// answered, and it is told once.
func TestFail(t *testing.T) {
	why := errors.New("as tested")
	for name, f := range map[string]func(s *Set){
		"fail":   func(s *Set) { s.Fail(why) },
		"goexit": func(*Set) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			s, d := begin(t)
			waits, queued := make(chan error, 1), make(chan bool)
			err := s.Do(func() error {
				go func() {
					close(queued)
					waits <- s.Do(func() error { return nil })
				}()
				<-queued
				f(s)
				return nil
			})
			for _, err := range []error{err, <-waits, s.Do(func() error { return nil })} {
				if !errors.Is(err, ErrFailed) || !errors.Is(err, ErrEnded) || name == "fail" && !errors.Is(err, why) {
					t.Errorf("answered with %v", err)
				}
			}
			if failed := <-d.ended; !failed || d.closed != 1 || len(d.failed) != 1 || !errors.Is(d.failed[0], ErrFailed) {
				t.Errorf("the end: before its time %v, closed %d times, told %v", failed, d.closed, d.failed)
			}
		})
	}
}

// TestKnown adds tasks and processes, and finds them.
func TestKnown(t *testing.T) {
	s := New(&session{})
	space, other := &inferior.Space{}, &inferior.Space{}
	for _, pid := range []int{30, 10, 20} {
		s.AddProcess(pid, "a", space, false)
	}
	p := s.AddProcess(5, "b", other, true)
	if space.Users != 3 || other.Users != 1 || !p.Follow || p.Name != "b" {
		t.Errorf("%d and %d users, %+v", space.Users, other.Users, p)
	}
	var pids []int
	for _, p := range s.Sharing(space) {
		pids = append(pids, p.PID)
	}
	if !slices.Equal(pids, []int{10, 20, 30}) {
		t.Errorf("%v share the space", pids)
	}
	p.Hold = 2
	a := s.Add(p, 5, true)
	if a.Hold != 2 || !a.Fresh || p.Leader() != a {
		t.Errorf("%+v", a)
	}
	if got, err := s.Task(5); got != a || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := s.Stopped(5); !errors.Is(err, ErrNotStopped) {
		t.Errorf("one that runs: %v", err)
	}
	a.State = inferior.Stopped
	if got, err := s.Stopped(5); got != a || err != nil {
		t.Errorf("one that stands: %v, %v", got, err)
	}
	p.Silent = true
	if _, err := s.Task(5); !errors.Is(err, ptrace.ErrGone) {
		t.Errorf("one that clients do not see: %v", err)
	}
	p.Silent = false
	if s.Forget(a); len(s.Tasks) != 0 || len(p.Tasks) != 0 || a.State != inferior.Gone {
		t.Errorf("forgotten: %v, %v, %+v", s.Tasks, p.Tasks, a)
	}
	if _, err := s.Task(5); !errors.Is(err, ptrace.ErrGone) {
		t.Errorf("one that has ended: %v", err)
	}
}

// TestPaused keeps the longest pause.
func TestPaused(t *testing.T) {
	s := New(&session{})
	for _, ns := range []int64{5, 9, 2} {
		s.Paused(ns)
	}
	if s.Pause() != 9 {
		t.Errorf("%v", s.Pause())
	}
}
