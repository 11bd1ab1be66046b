// Package aside lends processes to other tracers, and takes them back: where a client asks for that,
// and where a program is seen to ask for another tracer.
package aside

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/hook"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/life"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/procfs"
)

// Aside has the processes of a session that other tracers have for a while.
type Aside struct {
	queue  *event.Queue
	loop   *tasks.Set
	guard  *guard.Guard
	inproc *inproc.InProcess
	jump   *jump.Jumps
	hook   *hook.Hooks
	plant  *plant.Planter
	clean  *clean.Cleaner
	life   *life.Life
	isa    arch.ISA

	over <-chan struct{}
	// reclaim takes out of a process what this session has left in it.
	reclaim func(pid int) (found bool, err error)

	away map[int]*away
	late []*inferior.Task // that are kept from a call until no request is in progress
}

// Below is what Aside works with.
type Below struct {
	Queue  *event.Queue
	Loop   *tasks.Set
	Guard  *guard.Guard
	InProc *inproc.InProcess
	Jump   *jump.Jumps
	Hook   *hook.Hooks
	Plant  *plant.Planter
	Clean  *clean.Cleaner
	Life   *life.Life
	ISA    arch.ISA
}

// New is a session's, which has lent nothing. over is closed when the session has ended; reclaim
// takes out of a process what the session has left in it.
func New(b Below, over <-chan struct{}, reclaim func(pid int) (found bool, err error)) *Aside {
	return &Aside{queue: b.Queue, loop: b.Loop, guard: b.Guard, inproc: b.InProc, jump: b.Jump, hook: b.Hook, plant: b.Plant,
		clean: b.Clean, life: b.Life, isa: b.ISA, over: over, reclaim: reclaim, away: map[int]*away{}}
}

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

// WaitAgain says anew how long to wait for a tracer of a process that is lent. It reports whether
// the process is lent.
func (x *Aside) WaitAgain(pid int, wait time.Duration) bool {
	a := x.away[pid]
	if a != nil {
		a.wait.Store(int64(time.Since(a.since) + wait))
	}
	return a != nil
}

// Lend lets another tracer have a process, if one comes in time. Jumps are kept, or are not.
func (x *Aside) Lend(p *inferior.Process, wait time.Duration, keep bool) error {
	a := awayFor(wait)
	a.keep = keep
	return x.stepAside(p, a, "as asked for")
}

// EndLoans ends all loans: what is ptracer's is taken out of the processes.
func (x *Aside) EndLoans() error {
	var errs []error
	for _, a := range x.away {
		errs = append(errs, x.cleanAway(a))
	}
	return errors.Join(errs...)
}

// EndLoan ends that of a process.
func (x *Aside) EndLoan(pid int) error { return x.cleanAway(x.away[pid]) }

// Stray takes a stop of a process that is lent, and is a child of this one still. It reports
// whether it is of one.
func (x *Aside) Stray(stop ptrace.Stop) bool {
	a := x.away[stop.Task]
	if a != nil {
		x.onAway(a, stop)
	}
	return a != nil
}

// toldSoon is how long a stop that has come may take to be told.
const toldSoon = 200 * time.Millisecond

// stepAside lets a process go for another tracer, or leaves it as it is.
func (x *Aside) stepAside(p *inferior.Process, a *away, why string) error {
	failed := func(err error) error { return fmt.Errorf("step aside from %d: %w", p.PID, err) }
	// A child that has just executed something may not have been told of yet, while its
	// parent, which waited for that, attaches to it.
	alone := func() bool { return len(x.loop.Sharing(p.Space)) <= 1 }
	if err := x.loop.PumpFor(toldSoon, alone); err != nil && !errors.Is(err, tasks.ErrBusy) {
		return failed(err)
	}
	ps := x.loop.Sharing(p.Space)
	switch {
	case x.inproc.Resident:
		return failed(errResident)
	case len(ps) > 1:
		return failed(errMemory)
	}
	x.plant.NoteLost(p.Space, p.Space.Table.Sites())
	pause := x.loop.HaltAll(ps)
	if pause.Stuck() > 0 {
		x.loop.UnhaltAll(p)
		return failed(jump.ErrStuck)
	}
	x.noteAway(p, a.keep)
	if err := x.clear(pause, p, a.keep); err != nil {
		x.loop.UnhaltAll(p)
		if !a.keep && x.loop.Procs[p.PID] == p { // what is gone is planted anew
			p.Modules, p.Guarded = nil, false
			x.life.Rescan(p)
		}
		return failed(err)
	}
	a.stays = p.Space.Table.Prepared()
	if a.keep {
		why += "; what needs a stop is not counted meanwhile"
	} else {
		why += "; nothing is counted meanwhile"
	}
	return x.goAway(p, a, why)
}

// clear takes out of a halted process what is not to stay.
func (x *Aside) clear(pause breakpoint.Pause, p *inferior.Process, keep bool) error {
	switch {
	case !p.Space.Table.Prepared():
		return nil
	case keep:
		return x.leaveJumps(p)
	}
	return x.clean.Dismantle(p.Space, []*inferior.Process{p}, pause)
}

// GapAway is said of a placement in a process that another tracer has had.
const GapAway = "another tracer had the process for a while: hits in that time are not counted"

// noteAway notes at the placements of a process that hits are not counted for a while,
// but for those of jumps that are kept.
func (x *Aside) noteAway(p *inferior.Process, keep bool) {
	for _, probe := range x.plant.Probes {
		for _, pl := range probe.Places {
			if pl.Proc == p && pl.Gap == "" && !pl.Over && !(keep && pl.Site != nil && pl.Site.Jumps()) {
				pl.Gap = GapAway
			}
		}
	}
}

// goAway lets a process go, and watches for its being free again.
func (x *Aside) goAway(p *inferior.Process, a *away, why string) error {
	a.pid, a.born, a.ancestors, a.follow = p.PID, born(p.PID), p.Ancestors, p.Follow
	a.since, a.over = time.Now(), make(chan struct{})
	x.away[p.PID], x.life.Lent[p.PID], x.inproc.WentAside = a, true, true
	p.Lent = true
	err := x.life.Let(p)
	x.queue.Tell(&event.Event{Kind: event.Aside, PID: a.pid, TID: a.pid, Text: why}, true)
	go x.awaitReturn(a, a.lifted)
	return err
}

// leaveJumps takes out of a halted process what needs a tracer. The mark is the
// last thing, as for resident probes.
func (x *Aside) leaveJumps(p *inferior.Process) error {
	ps := []*inferior.Process{p}
	if err := p.Space.Table.Remove(x.clean.Traps(p.Space)); err != nil {
		return err
	}
	if err := x.ownHandler(p); err != nil {
		return err
	}
	if err := x.clean.WithoutGuard(p.Space, ps); err != nil {
		return err
	}
	return p.Space.PutWord(inferior.PageOwner, inferior.MarkAside)
}

// ownHandler gives a program its own SIGTRAP handler back where the kernel has
// taken ours away, for a trap that it met while SIGTRAP was blocked.
func (x *Aside) ownHandler(p *inferior.Process) error {
	for _, t := range p.Tasks {
		if caught, err := guard.CatchesTrap(t.TID); caught || err != nil || !p.Guarded {
			return err
		}
		_, err := x.guard.Sigaction(t, guard.OwnAction(p))
		return err
	}
	return nil
}

// awaitReturn looks, outside of the session's thread, for the moment in which a
// process can be traced again, and has that done; and for that in which traps that
// were lifted for it can be lowered.
func (x *Aside) awaitReturn(a *away, l *lifted) {
	seen := false
	for {
		select {
		case <-a.over:
			return
		case <-x.over:
			return
		case <-time.After(a.pause()):
		}
		if l != nil && procfs.Image(a.pid) != l.image {
			l = nil
			_ = x.loop.Do(func() error { return x.lower(a) })
		}
		traced, there := a.look()
		switch {
		case !there:
			if x.loop.Do(func() error { return x.leftAway(a) }) == nil {
				return
			}
		case traced:
			seen = true
		case seen || time.Since(a.since) >= time.Duration(a.wait.Load()) || a.tracerGone():
			if x.loop.Do(func() error { return x.comeBack(a) }) == nil {
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
func (x *Aside) comeBack(a *away) error {
	if x.away[a.pid] != a {
		return nil
	}
	if traced, _ := a.look(); traced { // since it was seen to be free
		return access.ErrTraced
	}
	x.forgetAway(a)
	x.jump.Returning = true
	err := x.life.Attach(context.Background(), a.pid, &life.Back{Ancestors: a.ancestors, Follow: a.follow})
	x.jump.Returning = false
	if err != nil {
		x.away[a.pid], x.life.Lent[a.pid] = a, true
		if ptrace.IsGone(err) {
			return x.leftAway(a)
		}
		return err
	}
	if p := x.loop.Procs[a.pid]; p != nil && !a.keep {
		x.noteAway(p, false)
	}
	x.queue.Tell(&event.Event{Kind: event.Back, PID: a.pid, TID: a.pid, Text: fmt.Sprintf("traced again after %v", time.Since(a.since).Round(time.Millisecond))}, true)
	return nil
}

func (x *Aside) forgetAway(a *away) {
	delete(x.away, a.pid)
	delete(x.life.Lent, a.pid)
}

// onAway takes what wait tells of a child of ours that another traces.
func (x *Aside) onAway(a *away, stop ptrace.Stop) {
	if stop.Kind == ptrace.Exited || stop.Kind == ptrace.Killed {
		x.endAway(a, &stop)
		return
	}
	ptrace.Take(stop.Task) // a job control stop, which our parent would be told
}

// leftAway forgets a process that is not there any more. How a child of ours has
// ended the kernel tells when its tracer has been told, or has told during comeBack.
func (x *Aside) leftAway(a *away) error {
	if stop, told := x.loop.Early(a.pid); told {
		x.onAway(a, stop)
	}
	if x.away[a.pid] == a && x.life.Started[a.pid] {
		stop, ok, err := ptrace.Wait(a.pid, false)
		switch {
		case ok && err == nil:
			x.onAway(a, stop)
		case err == nil && born(a.pid) == a.born:
			return errUnread
		}
	}
	x.endAway(a, nil)
	return nil
}

// endAway forgets a process that has ended while another had it; how is known of
// a child of ours only.
func (x *Aside) endAway(a *away, how *ptrace.Stop) {
	if x.away[a.pid] == a {
		x.forgetAway(a)
		close(a.over)
		_ = x.lower(a)
		x.life.Exited(a.pid, how, false)
	}
}

// cleanAway takes what is ours out of a process that another has, or has had.
func (x *Aside) cleanAway(a *away) error {
	x.forgetAway(a)
	close(a.over)
	_ = x.lower(a)
	x.life.CheckEnd()
	if !a.stays {
		return nil
	}
	for end := time.Now().Add(returnPatience); ; time.Sleep(20 * time.Millisecond) {
		_, err := x.reclaim(a.pid)
		switch {
		case ptrace.IsGone(err):
			return nil
		case errors.Is(err, clean.ErrComesBack) && time.Now().Before(end):
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
