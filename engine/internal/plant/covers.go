package plant

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// covers reports whether a probe is for a process, and whether its client may have it there.
func (r *Planter) covers(p *probe.Probe, proc *inferior.Process) bool {
	return probe.Covers(&p.Spec, proc) && r.allows(p.For, proc)
}

// allows asks Options.Allow whether a client may have probes in a process. It asks once for each
// program that the process executes.
func (r *Planter) allows(by any, proc *inferior.Process) bool {
	if r.allow == nil || by == nil {
		return true
	}
	ok, known := proc.Allowed[by]
	if !known {
		ok = r.allow(by, proc.PID)
		if proc.Allowed == nil {
			proc.Allowed = map[any]bool{}
		}
		proc.Allowed[by] = ok
	}
	return ok
}

// Strip takes out of a forked child, before it runs, those of its parent's probes that are not for
// it and those that have gone since the fork.
func (r *Planter) Strip(child *inferior.Process) error {
	if len(child.Ancestors) == 0 || child.VFork != nil || len(child.Tasks) > 1 {
		return nil // it was not forked, or has its parent's memory, or runs already
	}
	var list []*probe.Placement
	var sites []*breakpoint.Site
	for _, site := range child.Space.Table.Sites() {
		for _, pl := range probe.Of(site).List {
			if pl.Hook == nil && (pl.Probe.Gone || !r.covers(pl.Probe, child)) {
				list, sites = append(list, pl), append(sites, site)
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	for _, pl := range list { // also of probes that are being registered
		pl.Probe.Places = slices.DeleteFunc(pl.Probe.Places, func(x *probe.Placement) bool { return x == pl })
	}
	all := map[*inferior.Process][]*breakpoint.Site{child: sites}
	errs := []error{r.jump.WithoutJumps(all)}
	_, err := r.unplaceAll(list)
	return errors.Join(append(errs, err, r.jump.RestoreJumps(all))...)
}
