package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// ErrHandler is wrapped by errors about a probe and its handler that do not go
// together.
var ErrHandler = errors.New("handler can't be put there")

// points are where a probe's programs run: where it is hit first comes first.
// Of a probe without a handler that is its location, as it was said.
func (p *probe) points() []build.Point {
	h := p.handler
	switch {
	case h == nil || h.in.Exit == nil:
		return []build.Point{build.Entry}
	case h.in.Entry == nil:
		return []build.Point{build.Exit}
	}
	return []build.Point{build.Entry, build.Exit}
}

// checkHandler refuses a handler that can't run where the probe is.
func (p *probe) checkHandler(s *session) error {
	if p.spec.Handler == nil {
		return nil
	}
	h, own := p.spec.Handler.(*opened)
	if !own || h.s != s {
		return fmt.Errorf("%s: %w: %s: it is another session's", p.spec.Location, ErrHandler, p.spec.Handler.Info().Name)
	}
	p.handler = h
	refuse := func(why string) error {
		return fmt.Errorf("%s: %w: %s: %s", p.spec.Location, ErrHandler, h.in.Name, why)
	}
	switch {
	case p.spec.Action != ActionCount:
		return refuse("the probe has another action")
	case h.in.Exit != nil && (p.loc.HasAddress || p.loc.Offset != 0 || p.loc.Every):
		return refuse("it runs where a function returns; name a function")
	case h.in.Entry != nil && p.loc.Return:
		return refuse("it runs where a function is entered; leave %return away")
	}
	return nil
}

// handle runs a handler for a task that has hit. It allocates nothing, and asks
// the kernel only for what the program does.
func (s *session) handle(t *inferior.Task, site *breakpoint.Site, p *placement, view *arch.Regs) {
	h := p.probe.handler
	code := p.run.codes[p.point]
	if code == nil || p.exit != nil && p.exit.tail && h.result || !h.in.Acquire() {
		return
	}
	s.env.enter(s, t, p, view)
	var before arch.Regs
	if h.changes {
		before = *view
	}
	if _, err := s.machine.Run(code, &s.env); err != nil && h.failures.Add(1) == 1 {
		s.warn(t.Process, "handler %s: %v", h.in.Name, err)
	}
	h.in.Release()
	if h.changes && *view != before {
		t.SetRegs(view)
		t.Moved = arch.Addr(view[s.isa.PCReg()]) != site.Addr
	}
}

// Run is what a handler did that ran on demand.
type Run struct {
	Return uint64   // R0
	Output []string // what it printed, by trace_printk
	Result build.Result
}

// RunHandler implements Session.
func (s *session) RunHandler(spec HandlerSpec, tid int, args ...uint64) (run Run, err error) {
	spec.Where = handler.Engine
	o, err := s.OpenHandler(spec)
	if err != nil {
		return run, err
	}
	h := o.(*opened)
	err = s.loop.Do(func() error {
		t, err := s.loop.Stopped(tid)
		if err != nil {
			return err
		}
		v := h.variant
		if len(args) == 0 { // those that the task has
			if v, err = s.variantAt(h, t); err != nil {
				return err
			}
		}
		var e env
		e.print = func(text string) { run.Output = append(run.Output, text) }
		run.Return, err = s.runOnce(v, t, &e, args)
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
// arguments are for the handler only; what it changes is the task's then.
func (s *session) runOnce(v *variant, t *inferior.Task, e *env, args []uint64) (uint64, error) {
	r, err := t.Regs()
	if err != nil {
		return 0, err
	}
	view := *r
	for i, arg := range args {
		word, ok := s.isa.ArgReg(v.in.Handler.Context.Calls, i)
		if !ok {
			return 0, fmt.Errorf("%w: %d given", errArgs, len(args))
		}
		view[word] = arg
	}
	before := view
	pc := arch.Addr(view[s.isa.PCReg()])
	e.enter(s, t, &placement{probe: &probe{}, proc: t.Process, addr: pc}, &view)
	r0, err := s.machine.Run(v.codes[v.in.Handler.First()], e)
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
func (s *session) printed(t *inferior.Task, p *placement, text string) {
	s.tell(&event.Event{Kind: event.Print, PID: t.Process.PID, TID: t.TID, Probe: p.probe.id, Location: p.name, Addr: p.addr, Text: text}, false)
}
