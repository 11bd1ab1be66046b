// Package aside lends processes to other tracers and takes them back: when a client asks for it,
// and when a program is seen to ask for another tracer. The kernel allows one tracer of a process
// at a time.
//
// The package runs on the session's thread, except the wait for the other tracer's end
// (awaitReturn).
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

	over <-chan struct{} // closed when the session has ended
	// reclaim takes out of a process what this session has left in it.
	reclaim func(pid int) (found bool, err error)

	away map[int]*away    // the loans, by process id
	late []*inferior.Task // tasks that are kept from a call until no request is in progress
}

// Below has the rooms that Aside works with.
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

// New returns a session's Aside, without loans. over is closed when the session has ended. reclaim
// takes out of a process what the session has left in it.
func New(b Below, over <-chan struct{}, reclaim func(pid int) (found bool, err error)) *Aside {
	return &Aside{queue: b.Queue, loop: b.Loop, guard: b.Guard, inproc: b.InProc, jump: b.Jump, hook: b.Hook, plant: b.Plant,
		clean: b.Clean, life: b.Life, isa: b.ISA, over: over, reclaim: reclaim, away: map[int]*away{}}
}

// Lending. A process can be let go for another tracer, and taken back. All of ptracer's is taken
// out: a debugger may put its breakpoint into the middle of a jump. If the caller asks for it, or
// if the other tracer only looks, jumps and what they lead to stay and go on counting, with the
// mark of a lent process. Only what needs a tracer goes: traps, debug registers and the guard. When
// the process comes back, jumps that have stayed are cleaned up like a dead tracer's and planted
// anew, in one pause.

// The errors about processes that other tracers have for a while.
var (
	// ErrAside says that another tracer has the process at present.
	ErrAside = errors.New("it has been let go for another tracer, for a while")

	errUnread   = errors.New("its tracer has not been told yet that it has ended")
	errMemory   = errors.New("another process runs in its memory")
	errResident = failure.Unsupportedf("resident probes are for when no tracer comes back")
)

// away is one loan: a process that has been let go for another tracer.
type away struct {
	pid       int
	born      uint64 // when the process began, in clock ticks: ids are used again
	ancestors []int
	follow    bool
	keep      bool // jumps stay in it
	stays     bool // something of ptracer's is in it
	since     time.Time
	wait      atomic.Int64  // how long to wait for a tracer from since on, in ns
	tracer    int           // the process that is going to trace it, 0: not known
	maker     int           // the task that makes the tracer, 0: none
	suspended *suspended    // traps that are out of its parent's memory, in which it runs; nil: none
	over      chan struct{} // closed when the loan ends
}

// awayFor returns a loan that waits for a tracer for a time.
func awayFor(wait time.Duration) *away {
	a := &away{}
	a.wait.Store(int64(wait))
	return a
}

// WaitAgain sets anew how long to wait for a tracer of a process that is lent. It reports whether
// the process is lent.
func (x *Aside) WaitAgain(pid int, wait time.Duration) bool {
	a := x.away[pid]
	if a != nil {
		a.wait.Store(int64(time.Since(a.since) + wait))
	}
	return a != nil
}

// Lend lends a process to another tracer, which has to come within wait. keep leaves jumps in it.
func (x *Aside) Lend(p *inferior.Process, wait time.Duration, keep bool) error {
	a := awayFor(wait)
	a.keep = keep
	return x.stepAside(p, a, "as asked for")
}

// EndLoans ends all loans. What is ptracer's is taken out of the processes.
func (x *Aside) EndLoans() error {
	var errs []error
	for _, a := range x.away {
		errs = append(errs, x.cleanAway(a))
	}
	return errors.Join(errs...)
}

// EndLoan ends the loan of a process.
func (x *Aside) EndLoan(pid int) error { return x.cleanAway(x.away[pid]) }

// Stray takes a stop of a child that is lent. It reports whether the stop is of such a child.
func (x *Aside) Stray(stop ptrace.Stop) bool {
	a := x.away[stop.Task]
	if a != nil {
		x.onAway(a, stop)
	}
	return a != nil
}

// toldSoon is how long it may take until a stop that has happened is told.
const toldSoon = 200 * time.Millisecond

// stepAside lets a process go for another tracer. With an error the process is as it was.
func (x *Aside) stepAside(p *inferior.Process, a *away, why string) error {
	failed := func(err error) error { return fmt.Errorf("step aside from %d: %w", p.PID, err) }
	// The exec event of a vfork child may not have been told yet, while the parent, which
	// has waited for the exec, attaches to the child.
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
		if !a.keep && x.loop.Procs[p.PID] == p { // what was taken out is planted anew
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

// clear takes out of a halted process what does not stay.
func (x *Aside) clear(pause breakpoint.Pause, p *inferior.Process, keep bool) error {
	switch {
	case !p.Space.Table.Prepared():
		return nil
	case keep:
		return x.leaveJumps(p)
	}
	return x.clean.Dismantle(p.Space, []*inferior.Process{p}, pause)
}

// GapAway is the gap of a placement in a process that was lent.
const GapAway = "another tracer had the process for a while: hits in that time are not counted"

// noteAway notes GapAway at the placements of a process, except at those of jumps that are kept.
func (x *Aside) noteAway(p *inferior.Process, keep bool) {
	for _, probe := range x.plant.Probes {
		for _, pl := range probe.Places {
			if pl.Proc == p && pl.Gap == "" && !pl.Over && !(keep && pl.Site != nil && pl.Site.Jumps()) {
				pl.Gap = GapAway
			}
		}
	}
}

// goAway lets a process go, and begins to watch for its return.
func (x *Aside) goAway(p *inferior.Process, a *away, why string) error {
	a.pid, a.born, a.ancestors, a.follow = p.PID, born(p.PID), p.Ancestors, p.Follow
	a.since, a.over = time.Now(), make(chan struct{})
	x.away[p.PID], x.life.Lent[p.PID], x.inproc.WentAside = a, true, true
	p.Lent = true
	err := x.life.Let(p)
	x.queue.Tell(&event.Event{PID: a.pid, TID: a.pid, Body: &event.Released{Text: why}}, true)
	go x.awaitReturn(a, a.suspended)
	return err
}

// leaveJumps takes out of a halted process what needs a tracer. The mark is written last, as for
// resident probes.
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

// ownHandler gives a program its own SIGTRAP handler back if the kernel has removed the guard's,
// because of a trap while SIGTRAP was blocked.
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

// awaitReturn waits, on a goroutine of its own, until a process can be traced again, and has the
// session's thread trace it. It also has traps restored that were suspended for the process.
func (x *Aside) awaitReturn(a *away, l *suspended) {
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
			_ = x.loop.Do(func() error { return x.restoreTraps(a) })
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

// pause is how long to wait between two looks. A leak checker needs some milliseconds, the user of
// a debugger takes longer.
func (a *away) pause() time.Duration {
	switch t := time.Since(a.since); {
	case t < 200*time.Millisecond:
		return time.Millisecond
	case t < 10*time.Second:
		return 5 * time.Millisecond
	}
	return 50 * time.Millisecond
}

// tracerGone reports whether the task that was going to trace the process is gone.
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

// look reports whether a process has a tracer, and whether it is there. A tracer mostly has the
// first task.
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

// comeBack traces a process again. After an error it is tried again later.
func (x *Aside) comeBack(a *away) error {
	if x.away[a.pid] != a {
		return nil
	}
	if traced, _ := a.look(); traced { // a tracer has come since the process was seen to be free
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
	x.queue.Tell(&event.Event{PID: a.pid, TID: a.pid,
		Body: &event.Reattached{Text: fmt.Sprintf("traced again after %v", time.Since(a.since).Round(time.Millisecond))}}, true)
	return nil
}

// forgetAway forgets a loan.
func (x *Aside) forgetAway(a *away) {
	delete(x.away, a.pid)
	delete(x.life.Lent, a.pid)
}

// onAway takes what wait tells of a child that another tracer has.
func (x *Aside) onAway(a *away, stop ptrace.Stop) {
	if stop.Kind == ptrace.Exited || stop.Kind == ptrace.Killed {
		x.endAway(a, &stop)
		return
	}
	ptrace.Take(stop.Task) // a job-control stop, which only a parent is told
}

// leftAway forgets a process that is gone. The kernel tells how a child has ended when the child's
// tracer has been told, or it has told so during comeBack.
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

// endAway forgets a process that has ended while another tracer had it. how is known of children
// only.
func (x *Aside) endAway(a *away, how *ptrace.Stop) {
	if x.away[a.pid] == a {
		x.forgetAway(a)
		close(a.over)
		_ = x.restoreTraps(a)
		x.life.Exited(a.pid, how, false)
	}
}

// cleanAway ends a loan, and takes what is ptracer's out of the process.
func (x *Aside) cleanAway(a *away) error {
	x.forgetAway(a)
	close(a.over)
	_ = x.restoreTraps(a)
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

// returnPatience is how long signal handlers may take that have interrupted ptracer's code.
const returnPatience = time.Second

// born returns when a process began, in clock ticks; 0 if it is gone.
func born(pid int) uint64 {
	ticks, _ := procfs.Started(pid)
	return ticks
}
