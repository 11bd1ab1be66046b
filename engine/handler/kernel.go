package handler

import (
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// InKernel is the kernel executor. The Maps that it opens are a *Loaded.
type InKernel struct{}

// Loaded is a handler in the kernel: its programs are those at entry and exit, as
// far as it has them, in this order.
type Loaded struct {
	*kernel.Instance
	borrowed bool // the maps are another's
}

// Records are those of the first ring, nil if there is none.
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

// share makes another handler use the maps. Their records stay with the first.
func (l *Loaded) share(h *Verified) (Maps, error) {
	in, err := l.Share(programsOf(h)...)
	if err != nil {
		return nil, err
	}
	return &Loaded{Instance: in, borrowed: true}, nil
}

// Open hands a handler's programs to the kernel.
func (InKernel) Open(h *Verified) (Maps, error) {
	if err := kernel.Available(); err != nil {
		return nil, err
	}
	// The kernel would give a single handler all memory there is.
	if err := maps.Fit(h.Handler.Maps(), maps.Options{CPUs: possibleCPUs()}); err != nil {
		return nil, err
	}
	in, err := kernel.Load(programsOf(h)...)
	if err != nil {
		return nil, err
	}
	return &Loaded{Instance: in}, nil
}

// programsOf are a handler's programs, that at the entry first.
func programsOf(h *Verified) (programs []*program.Program) {
	for _, p := range []*program.Program{h.Handler.Entry, h.Handler.Exit} {
		if p != nil {
			programs = append(programs, p)
		}
	}
	return programs
}
