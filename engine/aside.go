package engine

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/procfs"
)

// A process can be let go for another tracer, and taken back. All of ptracer's goes: a
// debugger puts its breakpoints where a jump has its middle. Where the caller asks for
// that, or the other tracer only looks, jumps and what they lead to stay, and count on,
// with a mark that says whose they are; only what needs a tracer goes: traps, debug
// registers, and the guard with them. Coming back, jumps that stayed are cleaned up like
// a dead tracer's and planted anew, in one pause.

// Errors about processes that others trace for a while.
var (
	// ErrAside is of a process that another tracer has at present.
	ErrAside = errors.New("it has been let go for another tracer, for a while")

	errUnread   = errors.New("its tracer has not been told yet that it has ended")
	errMemory   = errors.New("another process runs in its memory")
	errResident = failure.Unsupportedf("resident probes are for when no tracer comes back")
)

// away is a process that has been let go for another tracer.
type away struct {
	pid       int
	born      uint64 // when it began: ids are used again
	ancestors []int
	follow    bool
	keep      bool // jumps are to stay
	stays     bool // there is something of ours in it
	since     time.Time
	wait      atomic.Int64 // how long nobody need come
	tracer    int          // who was going to, 0: not known
	maker     int          // the task that makes the tracer, 0: none does
	lifted    *lifted      // of its parent, in whose memory it runs
	over      chan struct{}
}

func awayFor(wait time.Duration) *away {
	a := &away{}
	a.wait.Store(int64(wait))
	return a
}

// StepAside implements Session.
func (s *session) StepAside(pid int, wait time.Duration, opts ...AsideOptions) error {
	return s.loop.Do(func() error {
		if a := s.away[pid]; a != nil {
			a.wait.Store(int64(time.Since(a.since) + wait))
			return nil
		}
		if wait <= 0 { // it is back already
			return nil
		}
		p, err := s.process(pid)
		if err != nil {
			return err
		}
		a := awayFor(wait)
		for _, o := range opts {
			a.keep = o.KeepJumps
		}
		return s.stepAside(p, a, "as asked for")
	})
}

// toldSoon is how long a stop that has come may take to be told.
const toldSoon = 200 * time.Millisecond

// stepAside lets a process go for another tracer, or leaves it as it is.
func (s *session) stepAside(p *inferior.Process, a *away, why string) error {
	failed := func(err error) error { return fmt.Errorf("step aside from %d: %w", p.PID, err) }
	// A child that has just executed something may not have been told of yet, while its
	// parent, which waited for that, attaches to it.
	alone := func() bool { return len(s.loop.Sharing(p.Space)) <= 1 }
	if err := s.loop.PumpFor(toldSoon, alone); err != nil && !errors.Is(err, tasks.ErrBusy) {
		return failed(err)
	}
	ps := s.loop.Sharing(p.Space)
	switch {
	case s.opts.Resident:
		return failed(errResident)
	case len(ps) > 1:
		return failed(errMemory)
	}
	s.noteLost(p.Space, p.Space.Table.Sites())
	pause := s.loop.HaltAll(ps)
	if pause.Stuck() > 0 {
		s.loop.UnhaltAll(p)
		return failed(errStuck)
	}
	s.noteAway(p, a.keep)
	if err := s.clear(pause, p, a.keep); err != nil {
		s.loop.UnhaltAll(p)
		if !a.keep && s.loop.Procs[p.PID] == p { // what is gone is planted anew
			p.Modules, p.Guarded = nil, false
			s.rescan(p)
		}
		return failed(err)
	}
	a.stays = p.Space.Table.Prepared()
	if a.keep {
		why += "; what needs a stop is not counted meanwhile"
	} else {
		why += "; nothing is counted meanwhile"
	}
	return s.goAway(p, a, why)
}

// clear takes out of a halted process what is not to stay.
func (s *session) clear(pause breakpoint.Pause, p *inferior.Process, keep bool) error {
	switch {
	case !p.Space.Table.Prepared():
		return nil
	case keep:
		return s.leaveJumps(p)
	}
	return s.dismantle(p.Space, []*inferior.Process{p}, pause)
}

// gapAway is said of a placement in a process that another tracer has had.
const gapAway = "another tracer had the process for a while: hits in that time are not counted"

// noteAway notes at the placements of a process that hits are not counted for a while,
// but for those of jumps that are kept.
func (s *session) noteAway(p *inferior.Process, keep bool) {
	for _, probe := range s.probes {
		for _, pl := range probe.places {
			if pl.proc == p && pl.gap == "" && !pl.over && !(keep && pl.site != nil && pl.site.Jumps()) {
				pl.gap = gapAway
			}
		}
	}
}

// goAway lets a process go, and watches for its being free again.
func (s *session) goAway(p *inferior.Process, a *away, why string) error {
	a.pid, a.born, a.ancestors, a.follow = p.PID, born(p.PID), p.Ancestors, p.Follow
	a.since, a.over = time.Now(), make(chan struct{})
	s.away[p.PID], s.wentAside = a, true
	err := s.let(p)
	s.tell(&event.Event{Kind: event.Aside, PID: a.pid, TID: a.pid, Text: why}, true)
	go s.awaitReturn(a, a.lifted)
	return err
}

// leaveJumps takes out of a halted process what needs a tracer. The mark is the
// last thing, as for resident probes.
func (s *session) leaveJumps(p *inferior.Process) error {
	ps := []*inferior.Process{p}
	if err := p.Space.Table.Remove(s.traps(p.Space)); err != nil {
		return err
	}
	if err := s.ownHandler(p); err != nil {
		return err
	}
	if err := s.withoutGuard(p.Space, ps); err != nil {
		return err
	}
	return s.mark(p.Space, asideMagic)
}

// ownHandler gives a program its own SIGTRAP handler back where the kernel has
// taken ours away, for a trap that it met while SIGTRAP was blocked.
func (s *session) ownHandler(p *inferior.Process) error {
	for _, t := range p.Tasks {
		if caught, err := guard.CatchesTrap(t.TID); caught || err != nil || !p.Guarded {
			return err
		}
		_, err := s.guard.Sigaction(t, guard.OwnAction(p))
		return err
	}
	return nil
}

// awaitReturn looks, outside of the session's thread, for the moment in which a
// process can be traced again, and has that done; and for that in which traps that
// were lifted for it can be lowered.
func (s *session) awaitReturn(a *away, l *lifted) {
	seen := false
	for {
		select {
		case <-a.over:
			return
		case <-s.done:
			return
		case <-time.After(a.pause()):
		}
		if l != nil && procfs.Image(a.pid) != l.image {
			l = nil
			_ = s.loop.Do(func() error { return s.lower(a) })
		}
		traced, there := a.look()
		switch {
		case !there:
			if s.loop.Do(func() error { return s.leftAway(a) }) == nil {
				return
			}
		case traced:
			seen = true
		case seen || time.Since(a.since) >= time.Duration(a.wait.Load()) || a.tracerGone():
			if s.loop.Do(func() error { return s.comeBack(a) }) == nil {
				return
			}
		}
	}
}

// pause is how long not to look: a leak checker needs some milliseconds, a
// debugger's user longer.
func (a *away) pause() time.Duration {
	switch t := time.Since(a.since); {
	case t < 200*time.Millisecond:
		return time.Millisecond
	case t < 10*time.Second:
		return 5 * time.Millisecond
	}
	return 50 * time.Millisecond
}

// tracerGone is whether who was going to trace the process is not there any more.
func (a *away) tracerGone() bool {
	if a.tracer == 0 && a.maker != 0 {
		a.tracer = procfs.NewestChild(a.pid, a.maker)
		return false
	}
	state := byte('R')
	if a.tracer != 0 {
		state = procfs.State(a.tracer)
	}
	return state == 0 || state == 'Z' || state == 'X'
}

// look says whether somebody traces a process, and whether it is there. A tracer
// has the first task, mostly.
func (a *away) look() (traced, there bool) {
	if born(a.pid) != a.born {
		return false, false
	}
	if procfs.Tracer(a.pid) != 0 && procfs.State(a.pid) != 'Z' {
		return true, true
	}
	tids, err := procfs.Tasks(a.pid)
	if err != nil {
		return false, false
	}
	for _, tid := range tids {
		state := procfs.State(tid)
		there = there || state != 'Z' && state != 'X' && state != 0
		traced = traced || procfs.Tracer(tid) != 0
	}
	return traced, there
}

// comeBack traces a process again. An error is for trying again later.
func (s *session) comeBack(a *away) error {
	if s.away[a.pid] != a {
		return nil
	}
	if traced, _ := a.look(); traced { // since it was seen to be free
		return ErrTraced
	}
	delete(s.away, a.pid)
	s.returning = true
	err := s.attach(a.pid, a)
	s.returning = false
	if err != nil {
		s.away[a.pid] = a
		if ptrace.IsGone(err) {
			return s.leftAway(a)
		}
		return err
	}
	if p := s.loop.Procs[a.pid]; p != nil && !a.keep {
		s.noteAway(p, false)
	}
	s.tell(&event.Event{Kind: event.Back, PID: a.pid, TID: a.pid, Text: fmt.Sprintf("traced again after %v", time.Since(a.since).Round(time.Millisecond))}, true)
	return nil
}

// onAway takes what wait tells of a child of ours that another traces.
func (s *session) onAway(a *away, stop ptrace.Stop) {
	if stop.Kind == ptrace.Exited || stop.Kind == ptrace.Killed {
		s.endAway(a, &stop)
		return
	}
	ptrace.Take(stop.Task) // a job control stop, which our parent would be told
}

// leftAway forgets a process that is not there any more. How a child of ours has
// ended the kernel tells when its tracer has been told, or has told during comeBack.
func (s *session) leftAway(a *away) error {
	if stop, told := s.loop.Early(a.pid); told {
		s.onAway(a, stop)
	}
	if s.away[a.pid] == a && s.started[a.pid] {
		stop, ok, err := ptrace.Wait(a.pid, false)
		switch {
		case ok && err == nil:
			s.onAway(a, stop)
		case err == nil && born(a.pid) == a.born:
			return errUnread
		}
	}
	s.endAway(a, nil)
	return nil
}

// endAway forgets a process that has ended while another had it; how is known of
// a child of ours only.
func (s *session) endAway(a *away, how *ptrace.Stop) {
	if s.away[a.pid] == a {
		delete(s.away, a.pid)
		close(a.over)
		_ = s.lower(a)
		s.exited(a.pid, how, s.opts.Life)
	}
}

// cleanAway takes what is ours out of a process that another has, or has had.
func (s *session) cleanAway(a *away) error {
	delete(s.away, a.pid)
	close(a.over)
	_ = s.lower(a)
	s.checkEnd()
	if !a.stays {
		return nil
	}
	for end := time.Now().Add(returnPatience); ; time.Sleep(20 * time.Millisecond) {
		_, err := Clean(a.pid)
		switch {
		case ptrace.IsGone(err):
			return nil
		case errors.Is(err, errComesBack) && time.Now().Before(end):
		case err != nil:
			return fmt.Errorf("%w; ptracer's jumps stay in it, 'ptracer stop %d' takes them out", err, a.pid)
		default:
			return nil
		}
	}
}

// returnPatience is how long signal handlers may take that have interrupted code
// of ours.
const returnPatience = time.Second

// born is when a process began, in clock ticks; 0 if it has gone.
func born(pid int) uint64 {
	ticks, _ := procfs.Started(pid)
	return ticks
}
