package engine

import (
	"errors"

	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
)

// unlinkAll takes the uprobes of a handler away. At the session's end there are
// none.
func (s *session) unlinkAll(h *inproc.Handler) error {
	if h.Kernel == nil {
		return nil
	}
	var list []*kernel.Link
	err := s.loop.Do(func() error {
		for _, p := range s.plant.Probes {
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
