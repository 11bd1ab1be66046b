package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// ErrHandler is wrapped by errors about a probe and its handler that do not go
// together.
var ErrHandler = errors.New("handler can't be put there")

// checkHandler refuses a handler that can't run where the probe is.
func (s *session) checkHandler(p *probe.Probe) error {
	if p.Spec.Handler == nil {
		return nil
	}
	h, own := p.Spec.Handler.(*inproc.Handler)
	if !own || h.Of != s.inproc {
		return fmt.Errorf("%s: %w: %s: it is another session's", p.Spec.Location, ErrHandler, p.Spec.Handler.Info().Name)
	}
	p.Handler = h
	refuse := func(why string) error {
		return fmt.Errorf("%s: %w: %s: %s", p.Spec.Location, ErrHandler, h.In.Name, why)
	}
	switch {
	case p.Spec.Action != Count:
		return refuse("the probe has another action")
	case h.In.Exit != nil && (p.Loc.HasAddress || p.Loc.Offset != 0 || p.Loc.Every):
		return refuse("it runs where a function returns; name a function")
	case h.In.Entry != nil && p.Loc.Return:
		return refuse("it runs where a function is entered; leave %return away")
	}
	return nil
}

// handle runs a handler for a task that has hit. It allocates nothing, and asks
// the kernel only for what the program does.
func (s *session) handle(t *inferior.Task, site *breakpoint.Site, p *probe.Placement, view *arch.Regs) {
	h := p.Probe.Handler
	code := p.Run.Codes[p.Point]
	if code == nil || p.Exit != nil && p.Exit.Tail && h.ReadsResult || !h.In.Acquire() {
		return
	}
	s.env.enter(s, t, p, view)
	var before arch.Regs
	if h.Changes {
		before = *view
	}
	if _, err := s.machine.Run(code, &s.env); err != nil && h.Failures.Add(1) == 1 {
		s.warn(t.Process, "handler %s: %v", h.In.Name, err)
	}
	h.In.Release()
	if h.Changes && *view != before {
		t.SetRegs(view)
		t.Moved = arch.Addr(view[s.isa.PCReg()]) != site.Addr
	}
}

// RunHandler implements Session.
func (s *session) RunHandler(spec HandlerSpec, tid int, args ...uint64) (run Run, err error) {
	spec.Where = handler.Engine
	o, err := s.OpenHandler(spec)
	if err != nil {
		return run, err
	}
	h := o.(*inproc.Handler)
	err = s.loop.Do(func() error {
		t, err := s.loop.Stopped(tid)
		if err != nil {
			return err
		}
		v := h.Variant
		if len(args) == 0 { // those that the task has
			if v, err = s.variantAt(h, t); err != nil {
				return err
			}
		}
		run.Return, err = s.runOnce(v, t, func(text string) { run.Output = append(run.Output, text) }, args)
		return err
	})
	if err2 := h.Close(); err == nil {
		err = err2
	}
	run.Result, _ = h.Result()
	return run, err
}

// errArgs is of a run with more arguments than there are registers for.
var errArgs = errors.New("more arguments than registers for them")

// runOnce runs a handler as if t had called a function where it stands. The
// arguments are for the handler only, and what it prints is given to print; what it changes is the task's then.
func (s *session) runOnce(v *inproc.Variant, t *inferior.Task, print func(string), args []uint64) (uint64, error) {
	r, err := t.Regs()
	if err != nil {
		return 0, err
	}
	view := *r
	for i, arg := range args {
		word, ok := s.isa.ArgReg(v.In.Handler.Context.Calls, i)
		if !ok {
			return 0, fmt.Errorf("%w: %d given", errArgs, len(args))
		}
		view[word] = arg
	}
	before := view
	pc := arch.Addr(view[s.isa.PCReg()])
	e := env{print: print}
	e.enter(s, t, &probe.Placement{Probe: &probe.Probe{}, Proc: t.Process, Place: probe.Place{Addr: pc}}, &view)
	r0, err := s.machine.Run(v.Codes[v.In.Handler.First()], &e)
	if view == before || err != nil {
		return r0, err
	}
	now := *r
	for i := range now {
		if view[i] != before[i] {
			now[i] = view[i]
		}
	}
	t.SetRegs(&now)
	return r0, nil
}

// printed tells what a handler at a probe printed.
func (s *session) printed(t *inferior.Task, p *probe.Placement, text string) {
	s.tell(&event.Event{Kind: event.Print, PID: t.Process.PID, TID: t.TID, Probe: p.Probe.ID, Location: p.Name, Addr: p.Addr, Text: text}, false)
}
