package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/uprobe"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// unlinkAll takes the uprobes of a handler away. At the session's end there are
// none.
func (s *session) unlinkAll(h *inproc.Handler) error {
	if h.Kernel == nil {
		return nil
	}
	var list []*kernel.Link
	err := s.loop.Do(func() error {
		for _, p := range s.probes {
			for _, pl := range p.Places {
				if p.Handler == h {
					s.uprobe.Cut(pl)
				}
			}
		}
		list = s.uprobe.Take()
		return nil
	})
	if errors.Is(err, ErrEnded) {
		<-s.done
		return nil
	}
	return errors.Join(err, uprobe.Close(list))
}

// inheritKernel gives a forked child uprobes of its own: the kernel's are for
// one process.
func (s *session) inheritKernel(parent, child *inferior.Process) {
	if child.Leaving {
		return
	}
	for _, p := range s.probes {
		if h := p.Handler; h == nil || h.Kernel == nil || p.Gone || !s.covers(p, child) {
			continue
		}
		if err := s.plant(p, child, child.Objects()); err != nil {
			s.loop.Warn(child, "%s: %v", p.Spec.Location, err)
		}
	}
}
