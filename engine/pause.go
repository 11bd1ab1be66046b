package engine

import (
	"errors"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// unjump takes a handler out of the code behind jumps; hits are counted on.
func (s *session) unjump(h *inproc.Handler) error {
	if !h.Native {
		return nil
	}
	err := s.loop.Do(func() error {
		h.Shut = true
		var errs []error
		for _, proc := range s.loop.Procs {
			var sites []*breakpoint.Site
			for _, site := range proc.Space.Table.Sites() {
				for _, pl := range probe.Of(site).List {
					if pl.Hook == nil && pl.Probe.Handler == h && site.Jumps() {
						sites = append(sites, site)
						break
					}
				}
			}
			if sites = proc.Space.Table.Sharing(sites); len(sites) > 0 {
				err := s.jump.Downgrade(proc.Space, sites, "")
				if err == nil {
					err = s.jump.Upgrade(proc, sites)
				}
				errs = append(errs, err)
			}
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return s.plant.Unshare(h)
	})
	if errors.Is(err, ErrEnded) {
		<-s.done
		return nil
	}
	return err
}
