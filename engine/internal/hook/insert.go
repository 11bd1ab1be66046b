package hook

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/procfs"
)

// Insert arms sites, except at addresses that do not lie in code: a symbol may lie anywhere, and so
// may an address that a user gives. For each want it returns a site or an error.
func (h *Hooks) Insert(proc *inferior.Process, wants []breakpoint.Want) ([]*breakpoint.Site, []error) {
	refused := h.notCode(proc, wants)
	if len(refused) == 0 {
		return h.insertCode(proc, wants)
	}
	sites, errs := make([]*breakpoint.Site, len(wants)), make([]error, len(wants))
	var code []breakpoint.Want
	var of []int // the index in wants of each of these
	for i, w := range wants {
		if errs[i] = refused[w.Addr]; errs[i] == nil {
			code, of = append(code, w), append(of, i)
		}
	}
	if len(code) == 0 {
		return sites, errs
	}
	armed, failed := h.insertCode(proc, code)
	for n, i := range of {
		sites[i], errs[i] = armed[n], failed[n]
	}
	return sites, errs
}

// notCode returns the wanted addresses that are known to lie in no code, with the reason. An
// address that is not mapped is found when it is read.
func (h *Hooks) notCode(proc *inferior.Process, wants []breakpoint.Want) map[arch.Addr]error {
	var known []procfs.Mapping
	for _, m := range proc.Modules {
		known = append(known, m.Ranges...)
		for _, c := range m.Copies {
			known = append(known, c.Ranges...)
		}
	}
	var others []arch.Addr
	for _, w := range wants {
		if mappingAt(known, w.Addr) == nil {
			others = append(others, w.Addr)
		}
	}
	if len(others) == 0 {
		return nil
	}
	all, err := procfs.Maps(proc.PID)
	refused := map[arch.Addr]error{}
	for _, a := range others {
		if err != nil {
			refused[a] = &breakpoint.SiteError{Addr: a, Err: err}
		} else if m := mappingAt(all, a); m != nil && !m.Executable() {
			refused[a] = &breakpoint.SiteError{Addr: a, Err: breakpoint.ErrNotCode}
		}
	}
	return refused
}

// mappingAt returns the mapping that an address lies in, or nil.
func mappingAt(list []procfs.Mapping, a arch.Addr) *procfs.Mapping {
	for i := range list {
		if list[i].Contains(a) {
			return &list[i]
		}
	}
	return nil
}

// insertCode arms sites. Tasks may come to a site as soon as it is armed: a new site gets its Tag
// behind Table.Insert, on the thread that decides the stops.
func (h *Hooks) insertCode(proc *inferior.Process, wants []breakpoint.Want) ([]*breakpoint.Site, []error) {
	addrs := make([]arch.Addr, len(wants))
	for i, w := range wants {
		addrs[i] = w.Addr
	}
	if err := h.jump.MakeRoom(proc, addrs, 1); err != nil {
		errs := make([]error, len(wants))
		for i := range errs {
			errs[i] = err
		}
		return make([]*breakpoint.Site, len(wants)), errs
	}
	sites, errs := proc.Space.Table.Insert(wants)
	for _, site := range sites {
		if site != nil && site.Tag == nil {
			site.Tag = &probe.Consumers{Plain: true}
		}
	}
	return sites, errs
}
