package handler

import (
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// InKernel is the kernel executor. Its Open returns *Loaded.
type InKernel struct{}

// Loaded is a handler in the kernel: its programs are those at the entry and at the exit, as far as
// it has them, in this order.
type Loaded struct {
	*kernel.Instance
	borrowed bool // another instance owns the maps
}

// Records returns the records of the first ring, nil if there is none.
func (l *Loaded) Records() (Records, error) {
	if l.borrowed {
		return nil, nil
	}
	for _, m := range l.Maps() {
		if m.Spec.Type == program.RingBuf || m.Spec.Type == program.PerfEvents {
			return m.Ring()
		}
	}
	return nil, nil
}

// share makes another handler use the maps. Records stay with the first handler.
func (l *Loaded) share(h *Verified) (Maps, error) {
	in, err := l.Share(programsOf(h)...)
	if err != nil {
		return nil, err
	}
	return &Loaded{Instance: in, borrowed: true}, nil
}

// Open loads a handler's programs into the kernel.
func (InKernel) Open(h *Verified) (Maps, error) {
	if err := kernel.Available(); err != nil {
		return nil, err
	}
	// The kernel sets no limit: one handler could take all memory.
	if err := maps.Fit(h.Handler.Maps(), maps.Options{CPUs: possibleCPUs()}); err != nil {
		return nil, err
	}
	in, err := kernel.Load(programsOf(h)...)
	if err != nil {
		return nil, err
	}
	return &Loaded{Instance: in}, nil
}

// programsOf returns a handler's programs, the entry's first.
func programsOf(h *Verified) (programs []*program.Program) {
	for _, p := range []*program.Program{h.Handler.Entry, h.Handler.Exit} {
		if p != nil {
			programs = append(programs, p)
		}
	}
	return programs
}
