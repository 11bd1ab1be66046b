package handler

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// InKernel is the kernel executor. The Maps that it opens are a
// *kernel.Instance, whose programs are the handler's at entry and exit, as far as
// it has them, in this order.
type InKernel struct{}

// Open hands a handler's programs to the kernel.
func (InKernel) Open(h *Verified) (Maps, error) {
	if err := kernel.Available(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	var programs []*program.Program
	for _, p := range []*program.Program{h.Handler.Entry, h.Handler.Exit} {
		if p != nil {
			programs = append(programs, p)
		}
	}
	in, err := kernel.Load(programs...)
	if err != nil {
		return nil, err // not in, which would be a Maps that is not nil
	}
	return in, nil
}
