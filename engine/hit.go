package engine

import (
	"sync/atomic"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// placement is one probe at one site, or at one debug register.
type placement struct {
	probe *probe
	proc  *inferior.Process
	name  string
	addr  arch.Addr
	space int // Space.ID
	exit  *exitTest
	point build.Point // which of a handler's programs runs
	calls arch.Convention
	run   *variant // of the probe's handler; nil: none
	told  bool     // that its arguments are not known
	// second is the exit of a handler that has an entry: not another hit.
	second  bool
	top     bool                                                           // the return address is where a call leaves it
	link    *kernel.Link                                                   // a uprobe of the kernel's serves it, and maybe others
	hook    func(*inferior.Task, *breakpoint.Site) (moved bool, err error) // the engine's own probes
	behind  arch.Addr                                                      // where a gate's call goes on (gate.go)
	aside   arch.Addr                                                      // where a gate of syscall() leads to (wrapper.go), else 0
	site    *breakpoint.Site
	rung    breakpoint.Rung
	why     string
	err     error
	over    bool      // its code is not mapped any more
	gap     string    // what of its hits is not counted, and why
	waits   *ifunc    // what this is to give back is where it will be
	child   bool      // came with a fork
	begins  arch.Addr // of an entry: the function's first instruction, where a stack check may be; else 0
	flags   bool      // which finds flags that mean something
	hits    atomic.Uint64
	counter counter // of hits behind a jump
}

// tag is what a site serves: its Site.Tag.
type tag struct {
	list  []*placement
	plain bool // all of them only count
	// shared is the counter that a placement shares with those that are there, nil:
	// none.
	shared *tally
	// faulted: an instruction behind the first has, that a jump displaced.
	faulted bool
}

func (g *tag) add(p *placement) {
	g.list = append(g.list, p)
	g.mark()
}

func (g *tag) mark() {
	g.plain = true
	for _, p := range g.list {
		if p.hook != nil || p.exit != nil || p.probe.gone || p.probe.spec.Action != ActionCount || p.probe.handler != nil {
			g.plain = false
		}
	}
}

// onTrapSignal decides a SIGTRAP. This is the path of a hit: for a counting
// probe it costs the requests to read the PC and the signal mask, to set the
// PC, and to go on; and one for the siginfo where the PC alone does not tell.
func (s *session) onTrapSignal(t *inferior.Task) error {
	table := t.Process.Space.Table
	pc, err := t.PC()
	if err != nil {
		return err
	}
	addr := s.isa.TrapPC(pc)
	site := table.At(addr)
	if site == nil || site.Rung == breakpoint.Hardware {
		return s.onOtherTrap(t, pc)
	}
	if site.Ambiguous {
		if ours, err := s.trapped(t, addr); err != nil || !ours {
			return s.onOtherTrap(t, pc)
		}
	}
	if site.Inst.Kind == arch.KindTrap {
		_ = s.hit(t, site)
		return s.deliverTrap(t, ptrace.CodeKernel)
	}
	blocked, err := s.guard.CheckBlocked(t)
	if err != nil {
		return err
	}
	s.stopped.Add(1)
	s.loop.Follower.Hit(t)
	if len(t.Process.Space.Skips) > 0 && s.xol.Skipped(t, addr) {
		return s.pass(t, site, blocked)
	}
	g := site.Tag.(*tag)
	if g.plain {
		if !t.Process.Silent {
			for _, p := range g.list {
				p.hits.Add(1)
			}
		}
		return s.pass(t, site, blocked)
	}
	if s.hit(t, site) { // the engine's own probe has moved the task on
		if blocked {
			return s.guard.Repair(t)
		}
		return nil
	}
	return s.pass(t, site, blocked)
}

// trapped asks the kernel whether t's SIGTRAP is that of our instruction at addr.
func (s *session) trapped(t *inferior.Task, addr arch.Addr) (bool, error) {
	var info ptrace.SigInfo
	if err := ptrace.GetSigInfo(t.TID, &info); err != nil {
		return false, err
	}
	if ptrace.OnePC { // amd64: int3
		return info.Code() == ptrace.CodeKernel, nil
	}
	return info.Code() == ptrace.CodeBrkpt && info.Address() == addr, nil
}

// pass lets a task that has hit site go on by the site's rung.
func (s *session) pass(t *inferior.Task, site *breakpoint.Site, blocked bool) error {
	if site.Inst.Kind == arch.KindSyscall && t.Process.Space.Dispatches && !t.Moved {
		return s.passDispatched(t, site, blocked)
	}
	if site.Rung == breakpoint.Step && !t.Moved {
		return s.xol.StepOver(t, site)
	}
	if t.Moved {
		t.Moved = false
	} else {
		t.SetPC(site.Resume)
	}
	return s.goOn(t, blocked)
}

// goOn resumes a task behind a trap of ptracer's. Where it had SIGTRAP blocked the guard's
// handler is put back first.
func (s *session) goOn(t *inferior.Task, blocked bool) error {
	if blocked {
		if err := s.guard.Repair(t); err != nil || t.State != inferior.Stopped {
			return err
		}
	}
	return s.loop.Resume(t, 0)
}

// hit tells a hit to the probes of a site; moved means that one of the
// engine's own has resumed the task.
func (s *session) hit(t *inferior.Task, site *breakpoint.Site) (moved bool) {
	r, err := t.Regs()
	if err != nil {
		return ptrace.IsGone(err)
	}
	t.View = *r
	t.View[s.isa.PCReg()] = uint64(site.Addr)
	for _, p := range site.Tag.(*tag).list {
		switch {
		case p.hook != nil:
			if m, err := p.hook(t, site); m || err != nil {
				moved = true
			}
		case t.Process.Silent, p.probe.gone, p.probe.spec.Held, p.exit != nil && !s.leaves(t, p, site.Code, &t.View):
		default:
			p.hits.Add(1)
			s.act(t, site, p, &t.View)
		}
	}
	return moved
}

func (s *session) act(t *inferior.Task, site *breakpoint.Site, p *placement, view *arch.Regs) {
	if p.probe.handler != nil {
		s.handle(t, site, p, view)
		return
	}
	switch p.probe.spec.Action {
	case ActionTell:
		e := s.hitEvent(t, p, view)
		s.tell(&e, false)
	case ActionStop:
		t.Keep()
		e := s.hitEvent(t, p, view)
		e.Kind = event.Stopped
		s.tell(&e, true)
	case ActionCall:
		s.shown = taskHit{s: s, t: t, p: p, regs: view, site: site}
		p.probe.spec.Func(&s.shown)
		s.shown.flush()
	}
}

// hitEvent collects what a probe's event carries.
func (s *session) hitEvent(t *inferior.Task, p *placement, view *arch.Regs) event.Event {
	spec := &p.probe.spec
	e := event.Event{Kind: event.Hit, Time: now(), PID: t.Process.PID, TID: t.TID,
		Probe: p.probe.id, Location: p.name, Addr: p.addr, Calls: p.calls}
	for i := 0; i < min(spec.Args, event.MaxArgs); i++ {
		var v uint64
		var ok bool
		if p.exit != nil {
			v, ok = s.isa.Result(view), i == 0 && !p.exit.tail && knows(p.calls, p.exit)
		} else {
			v, ok = s.arg(t, p, view, i)
		}
		if !ok {
			break
		}
		e.Args[i], e.NArgs = v, i+1
	}
	if spec.Strings != 0 {
		e.Strings = make([]string, e.NArgs)
		for i := range e.Strings {
			if spec.Strings>>i&1 != 0 {
				e.Strings[i] = s.textAt(t, p, view, i, arch.Addr(e.Args[i]))
			}
		}
	}
	return e
}

// maxString is how much of a string an event carries.
const maxString = 256

func (s *session) readString(t *inferior.Task, addr arch.Addr) string {
	buf := make([]byte, maxString)
	n, _ := t.Process.Space.Memory.ReadSome(addr, buf)
	for i, c := range buf[:n] {
		if c == 0 {
			return string(buf[:i])
		}
	}
	return string(buf[:n])
}
