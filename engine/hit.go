package engine

import (
	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

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
	g := probe.Of(site)
	if g.Plain {
		if !t.Process.Silent {
			for _, p := range g.List {
				p.Hits.Add(1)
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
	for _, p := range probe.Of(site).List {
		switch {
		case p.Hook != nil:
			if m, err := p.Hook(t, site); m || err != nil {
				moved = true
			}
		case t.Process.Silent, p.Probe.Gone, p.Probe.Spec.Held, p.Exit != nil && !s.leaves(t, p, site.Code, &t.View):
		default:
			p.Hits.Add(1)
			s.act(t, site, p, &t.View)
		}
	}
	return moved
}

func (s *session) act(t *inferior.Task, site *breakpoint.Site, p *probe.Placement, view *arch.Regs) {
	if p.Probe.Handler != nil {
		s.handle(t, site, p, view)
		return
	}
	switch p.Probe.Spec.Action {
	case Tell:
		e := s.hitEvent(t, p, view)
		s.tell(&e, false)
	case Stop:
		t.Keep()
		e := s.hitEvent(t, p, view)
		e.Kind = event.Stopped
		s.tell(&e, true)
	case Call:
		s.shown = taskHit{s: s, t: t, p: p, regs: view, site: site}
		p.Probe.Spec.Func(&s.shown)
		s.shown.flush()
	}
}

// hitEvent collects what a probe's event carries.
func (s *session) hitEvent(t *inferior.Task, p *probe.Placement, view *arch.Regs) event.Event {
	spec := &p.Probe.Spec
	e := event.Event{Kind: event.Hit, Time: now(), PID: t.Process.PID, TID: t.TID,
		Probe: p.Probe.ID, Location: p.Name, Addr: p.Addr, Calls: p.Calls}
	for i := 0; i < min(spec.Args, event.MaxArgs); i++ {
		var v uint64
		var ok bool
		if p.Exit != nil {
			v, ok = s.isa.Result(view), i == 0 && !p.Exit.Tail && probe.Knows(p.Calls, p.Exit)
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
