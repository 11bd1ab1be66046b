package hit

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// VariantAt returns the handler as it is compiled for the function that a task stands in.
func (x *Hits) VariantAt(h *inproc.Handler, t *inferior.Task) (*inproc.Variant, error) {
	pc, err := x.xol.ShownPC(t)
	if err != nil {
		return nil, err
	}
	for _, m := range t.Process.Modules {
		if at := m.At(pc); at != nil {
			place, err := x.find.PlaceInside(&probe.Probe{Handler: h}, at, pc-at.Bias)
			if err != nil {
				return nil, err
			}
			return h.Under(place)
		}
	}
	return h.Variant, nil
}

// handle runs a handler for a task that has hit. It allocates nothing, and makes only the requests
// that the program asks for.
func (x *Hits) handle(t *inferior.Task, site *breakpoint.Site, p *probe.Placement, view *arch.Regs) {
	h := p.Probe.Handler
	code := p.Run.Codes[p.Point]
	if code == nil || p.Exit != nil && p.Exit.Tail && h.ReadsResult || !h.In.Acquire() {
		return
	}
	x.env.enter(x, t, p, view)
	var before arch.Regs
	if h.Changes {
		before = *view
	}
	if _, err := x.machine.Run(code, &x.env); err != nil && h.Failures.Add(1) == 1 {
		x.loop.Warn(t.Process, "handler %s: %v", h.In.Name, err)
	}
	h.In.Release()
	if h.Changes && *view != before {
		t.SetRegs(view)
		t.Moved = arch.Addr(view[x.isa.PCReg()]) != site.Addr
	}
}

// ErrArgs says that a run has more arguments than there are registers for arguments.
var ErrArgs = errors.New("more arguments than registers for them")

// RunOnce runs a handler as if a task had called a function where it stands. args are for the
// handler only. print gets what the handler prints. Registers that the handler changes become the
// task's.
func (x *Hits) RunOnce(v *inproc.Variant, t *inferior.Task, print func(string), args []uint64) (uint64, error) {
	r, err := t.Regs()
	if err != nil {
		return 0, err
	}
	view := *r
	for i, arg := range args {
		word, ok := x.isa.ArgReg(v.In.Handler.Context.Calls, i)
		if !ok {
			return 0, fmt.Errorf("%w: %d given", ErrArgs, len(args))
		}
		view[word] = arg
	}
	before := view
	pc := arch.Addr(view[x.isa.PCReg()])
	e := env{print: print}
	e.enter(x, t, &probe.Placement{Probe: &probe.Probe{}, Proc: t.Process, Place: probe.Place{Addr: pc}}, &view)
	r0, err := x.machine.Run(v.Codes[v.In.Handler.First()], &e)
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

// printed tells what a handler at a probe has printed.
func (x *Hits) printed(t *inferior.Task, p *probe.Placement, text string) {
	x.queue.Tell(&event.Event{PID: t.Process.PID, TID: t.TID,
		Body: &event.Print{Probe: p.Probe.ID, Location: p.Name, Addr: p.Addr, Text: text}}, false)
}
