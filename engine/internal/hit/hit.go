// Package hit decides what a trap or a signal of a task is, serves the hits of probes that stop,
// and lets the task go on. A hit is counted, told, given to a Func, or handled by the interpreter.
//
// All of it runs on the session's thread. Sites are made by the packages above (plant, hook).
package hit

import (
	"sync/atomic"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/interp"
	"github.com/ptracer/ptracer/engine/internal/find"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/watch"
	"github.com/ptracer/ptracer/engine/internal/xol"
)

// Hits serves the hits of a session's probes that stop.
type Hits struct {
	Stopped atomic.Uint64 // how many hits have stopped a task

	queue *event.Queue
	loop  *tasks.Set
	guard *guard.Guard
	xol   *xol.XOL
	jump  *jump.Jumps
	find  *find.Finder
	watch *watch.Registers
	isa   arch.ISA

	signals bool           // signals are told as events
	machine interp.Machine // interprets handlers
	env     env            // of the handler that is running
	shown   taskHit        // the hit that is given to the Func that is running
	told    event.Hit      // the hit that is put into the queue, which copies it
}

// Below has the rooms that Hits works with.
type Below struct {
	Queue *event.Queue
	Loop  *tasks.Set
	Guard *guard.Guard
	XOL   *xol.XOL
	Jump  *jump.Jumps
	Find  *find.Finder
	Watch *watch.Registers
	ISA   arch.ISA
}

// New returns the Hits of a session. signals says whether signals are told as events.
func New(b Below, signals bool) *Hits {
	return &Hits{queue: b.Queue, loop: b.Loop, guard: b.Guard, xol: b.XOL, jump: b.Jump, find: b.Find, watch: b.Watch,
		isa: b.ISA, signals: signals}
}

// onTrapSignal decides a SIGTRAP. It is the path of a hit. For a counting probe it makes the
// requests that read the PC and the signal mask, set the PC, and let the task go, and one for the
// siginfo where the PC alone does not tell a trap from a signal.
func (x *Hits) onTrapSignal(t *inferior.Task) error {
	table := t.Process.Space.Table
	pc, err := t.PC()
	if err != nil {
		return err
	}
	addr := x.isa.TrapPC(pc)
	site := table.At(addr)
	if site == nil || site.Rung == breakpoint.Hardware {
		return x.onOtherTrap(t, pc)
	}
	if site.Ambiguous {
		if ours, err := x.trapped(t, addr); err != nil || !ours {
			return x.onOtherTrap(t, pc)
		}
	}
	if site.Inst.Kind == arch.KindTrap {
		_ = x.hit(t, site)
		return x.deliverTrap(t, ptrace.CodeKernel)
	}
	blocked, err := x.guard.CheckBlocked(t)
	if err != nil {
		return err
	}
	x.Stopped.Add(1)
	x.loop.Follower.Hit(t)
	if len(t.Process.Space.Skips) > 0 && x.xol.Skipped(t, addr) {
		return x.pass(t, site, blocked)
	}
	g := probe.Of(site)
	if g.Plain {
		if !t.Process.Silent {
			for _, p := range g.List {
				p.Hits.Add(1)
			}
		}
		return x.pass(t, site, blocked)
	}
	if x.hit(t, site) { // a hook has let the task go on, or has moved it
		if blocked {
			return x.guard.Repair(t)
		}
		return nil
	}
	return x.pass(t, site, blocked)
}

// trapped reports whether a task's SIGTRAP is that of the trap at addr. The siginfo tells.
func (x *Hits) trapped(t *inferior.Task, addr arch.Addr) (bool, error) {
	var info ptrace.SigInfo
	if err := ptrace.GetSigInfo(t.TID, &info); err != nil {
		return false, err
	}
	if ptrace.OnePC { // amd64: int3
		return info.Code() == ptrace.CodeKernel, nil
	}
	return info.Code() == ptrace.CodeBrkpt && info.Address() == addr, nil
}

// pass lets a task go on that has hit site, by the site's method.
func (x *Hits) pass(t *inferior.Task, site *breakpoint.Site, blocked bool) error {
	if site.Inst.Kind == arch.KindSyscall && t.Process.Space.Dispatches && !t.Moved {
		return x.passDispatched(t, site, blocked)
	}
	if site.Rung == breakpoint.Step && !t.Moved {
		return x.xol.StepOver(t, site)
	}
	if t.Moved {
		t.Moved = false
	} else {
		t.SetPC(site.Resume)
	}
	return x.goOn(t, blocked)
}

// goOn lets a task go on behind a trap of ptracer's. If SIGTRAP was blocked, the guard's handler is
// put back first.
func (x *Hits) goOn(t *inferior.Task, blocked bool) error {
	if blocked {
		if err := x.guard.Repair(t); err != nil || t.State != inferior.Stopped {
			return err
		}
	}
	return x.loop.Resume(t, 0)
}

// hit serves the placements of a site. moved reports whether a hook has let the task go on, or
// whether the registers could not be read because the task has ended.
func (x *Hits) hit(t *inferior.Task, site *breakpoint.Site) (moved bool) {
	r, err := t.Regs()
	if err != nil {
		return ptrace.IsGone(err)
	}
	t.View = *r
	t.View[x.isa.PCReg()] = uint64(site.Addr)
	for _, p := range probe.Of(site).List {
		switch {
		case p.Hook != nil:
			if m, err := p.Hook(t, site); m || err != nil {
				moved = true
			}
		case t.Process.Silent, p.Probe.Gone, p.Probe.Spec.Held, p.Exit != nil && !x.leaves(t, p, site.Code, &t.View):
		default:
			p.Hits.Add(1)
			x.act(t, site, p, &t.View)
		}
	}
	return moved
}

// act does at a hit what the placement's probe asks for.
func (x *Hits) act(t *inferior.Task, site *breakpoint.Site, p *probe.Placement, view *arch.Regs) {
	if p.Probe.Handler != nil {
		x.handle(t, site, p, view)
		return
	}
	switch p.Probe.Spec.Action {
	case api.ActionTell:
		e := event.Event{Time: ptrace.Now(), PID: t.Process.PID, TID: t.TID, Body: &x.told}
		x.describe(&x.told, t, p, view)
		x.queue.Tell(&e, false)
	case api.ActionStop:
		x.stop(t, p, view)
	case api.ActionCall:
		x.shown = taskHit{s: x, t: t, p: p, regs: view, site: site}
		p.Probe.Spec.Func(&x.shown)
		x.shown.flush()
	}
}

// stop keeps a task stopped at a hit, and tells it.
func (x *Hits) stop(t *inferior.Task, p *probe.Placement, view *arch.Regs) {
	t.Keep()
	b := &event.Stopped{}
	e := event.Event{Time: ptrace.Now(), PID: t.Process.PID, TID: t.TID, Body: b}
	x.describe(&b.Hit, t, p, view)
	x.queue.Tell(&e, true)
}

// describe fills in a hit, with the arguments and strings that the probe asks for.
func (x *Hits) describe(h *event.Hit, t *inferior.Task, p *probe.Placement, view *arch.Regs) {
	spec := &p.Probe.Spec
	*h = event.Hit{Probe: p.Probe.ID, Location: p.Name, Addr: p.Addr, Calls: p.Calls}
	for i := range spec.Args {
		var v uint64
		var ok bool
		if p.Exit != nil {
			v, ok = x.isa.Result(view), i == 0 && !p.Exit.Tail && probe.Knows(p.Calls, p.Exit)
		} else {
			v, ok = x.arg(t, p, view, i)
		}
		if !ok {
			break
		}
		h.Args[i], h.NArgs = v, i+1
	}
	for i, arg := range spec.Args[:h.NArgs] {
		if !arg.Text {
			continue
		}
		if h.Strings == nil {
			h.Strings = make([]string, h.NArgs)
		}
		h.Strings[i] = x.textAt(t, p, view, i, arch.Addr(h.Args[i]))
	}
}

// maxString is how many bytes of a string an event carries.
const maxString = 256

// readString returns the zero-terminated string at an address of the task's process.
func (x *Hits) readString(t *inferior.Task, addr arch.Addr) string {
	buf := make([]byte, maxString)
	n, _ := t.Process.Space.Memory.ReadSome(addr, buf)
	for i, c := range buf[:n] {
		if c == 0 {
			return string(buf[:i])
		}
	}
	return string(buf[:n])
}
