// package plant puts probes where they are to be, by what serves them there, and takes them out
// again: it finds their places, inserts sites, and has sites of the engine's own.
package plant

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
	"github.com/ptracer/ptracer/engine/internal/watch"
	"github.com/ptracer/ptracer/engine/internal/xol"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
)

// Planter has the probes of a session, and the places where they are.
type Planter struct {
	Probes []*probe.Probe // by their number less 1
	// Beginning: the objects that are found now have run no code yet.
	Beginning bool

	loop   *tasks.Set
	remote *remote.Caller
	guard  *guard.Guard
	xol    *xol.XOL
	inproc *inproc.InProcess
	jump   *jump.Jumps
	watch  *watch.Registers
	uprobe *uprobe.Links
	isa    arch.ISA
	// onGuard plants the sites that a process has from its first guard on.
	onGuard func(*inferior.Process) error
	allow   func(by any, pid int) bool

	spaces   int // how many have a number
	ifuncs   map[ifuncKey]*probe.IFunc
	gates    map[*inferior.Process][]gate // that are being made
	nextLook int64                        // when it may be looked for lost patches again
}

// Below is what a Planter works with.
type Below struct {
	Loop   *tasks.Set
	Remote *remote.Caller
	Guard  *guard.Guard
	XOL    *xol.XOL
	InProc *inproc.InProcess
	Jump   *jump.Jumps
	Watch  *watch.Registers
	Uprobe *uprobe.Links
	ISA    arch.ISA
}

// New is a session's, which has no probes. When a process gets its first guard onGuard is called;
// allow says whether a client may have probes in a process (api.Options.Allow), nil: all may.
func New(b Below, onGuard func(*inferior.Process) error, allow func(by any, pid int) bool) *Planter {
	return &Planter{loop: b.Loop, remote: b.Remote, guard: b.Guard, xol: b.XOL, inproc: b.InProc, jump: b.Jump,
		watch: b.Watch, uprobe: b.Uprobe, isa: b.ISA, onGuard: onGuard, allow: allow,
		ifuncs: map[ifuncKey]*probe.IFunc{}, gates: map[*inferior.Process][]gate{}}
}

// InheritKernel gives a forked child uprobes of its own: the kernel's are for
// one process.
func (r *Planter) InheritKernel(parent, child *inferior.Process) {
	if child.Leaving {
		return
	}
	for _, p := range r.Probes {
		if h := p.Handler; h == nil || h.Kernel == nil || p.Gone || !r.covers(p, child) {
			continue
		}
		if err := r.Plant(p, child, child.Objects()); err != nil {
			r.loop.Warn(child, "%s: %v", p.Spec.Location, err)
		}
	}
}

// plantWatch puts a probe into debug registers.
func (r *Planter) plantWatch(p *probe.Probe, proc *inferior.Process, spots []probe.Target) error {
	added, err := r.watch.Take(p, proc, spots)
	if err == nil {
		err = r.GuardSpace(proc, spots[0].Addr, 1)
	}
	if err == nil {
		err = r.watch.SetAll(proc)
	}
	if err != nil {
		return errors.Join(err, r.watch.Remove(proc, added...))
	}
	for _, pl := range added {
		r.place(pl)
	}
	return nil
}

// Insert arms sites, but for those that would not lie in code. An address can be anything's: a
// symbol may lie anywhere, and so may an address that a user gives.
func (r *Planter) Insert(proc *inferior.Process, wants []breakpoint.Want) ([]*breakpoint.Site, []error) {
	refused := r.notCode(proc, wants)
	if len(refused) == 0 {
		return r.insertCode(proc, wants)
	}
	sites, errs := make([]*breakpoint.Site, len(wants)), make([]error, len(wants))
	var code []breakpoint.Want
	var of []int // of each of these, its place in wants
	for i, w := range wants {
		if errs[i] = refused[w.Addr]; errs[i] == nil {
			code, of = append(code, w), append(of, i)
		}
	}
	if len(code) == 0 {
		return sites, errs
	}
	armed, failed := r.insertCode(proc, code)
	for n, i := range of {
		sites[i], errs[i] = armed[n], failed[n]
	}
	return sites, errs
}

// notCode tells of which addresses it is not known that they are code, and why. What is not
// mapped is found out when it is read.
func (r *Planter) notCode(proc *inferior.Process, wants []breakpoint.Want) map[arch.Addr]error {
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

// mappingAt is the mapping that an address lies in.
func mappingAt(list []procfs.Mapping, a arch.Addr) *procfs.Mapping {
	for i := range list {
		if list[i].Contains(a) {
			return &list[i]
		}
	}
	return nil
}

// insertCode arms sites; tasks may run into them as soon as it starts, so their
// tags must be there before: Insert's last pass runs after tagging.
func (r *Planter) insertCode(proc *inferior.Process, wants []breakpoint.Want) ([]*breakpoint.Site, []error) {
	addrs := make([]arch.Addr, len(wants))
	for i, w := range wants {
		addrs[i] = w.Addr
	}
	if err := r.jump.MakeRoom(proc, addrs, 1); err != nil {
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

// learnDispatch finds out whether system calls come back to a task of a process at the
// attach. Where SIGSYS has no handler they don't, and Go's runtime takes every signal.
func (r *Planter) learnDispatch(p *inferior.Process) error {
	const bitSys = 1 << (31 - 1)
	st, err := procfs.ReadStatus(p.PID)
	if err != nil || st.Hex("SigCgt")&bitSys == 0 || p.IsGo() || p.Space.Dispatches {
		return nil
	}
	return r.loop.WhileHalted(func(breakpoint.Pause) error {
		for _, t := range p.Tasks {
			d, err := remote.DispatchOf(t)
			if err != nil && !ptrace.IsGone(err) {
				return err
			}
			p.Space.Dispatches = p.Space.Dispatches || d.On()
		}
		return nil
	}, p.Space)
}

// Plant puts p into the given objects of a process.
func (r *Planter) Plant(p *probe.Probe, proc *inferior.Process, mods []*symbols.Module) error {
	if p.Gone || proc.Silent || !r.covers(p, proc) {
		return nil
	}
	spots, err := r.spots(p, mods)
	if len(spots) == 0 {
		return err
	}
	p.Found = true
	if spots = r.implemented(p, proc, spots); len(spots) == 0 || r.loop.Procs[proc.PID] != proc {
		return nil
	}
	return r.plantSpots(p, proc, spots)
}

// plantSpots puts p where it is to be, by what serves it.
func (r *Planter) plantSpots(p *probe.Probe, proc *inferior.Process, spots []probe.Target) error {
	if spots = r.able(p, proc, spots); len(spots) == 0 {
		return nil
	}
	if h := p.Handler; h != nil && h.Kernel != nil {
		return r.uprobe.Plant(p, proc, spots, r.place)
	}
	if p.Spec.Rung == breakpoint.Hardware {
		return r.plantWatch(p, proc, spots)
	}
	return r.plantSites(p, proc, spots)
}

// plantSites arms the sites of all spots, with one pause of one task at most.
func (r *Planter) plantSites(p *probe.Probe, proc *inferior.Process, spots []probe.Target) error {
	if err := r.GuardSpace(proc, spots[0].Addr, len(spots)); err != nil {
		err = fmt.Errorf("probe %s in %d: %w", p.Spec.Location, proc.PID, err)
		if !ptrace.IsGone(err) {
			for _, sp := range spots { // it has been found: that is to be known of it
				r.place(&probe.Placement{Probe: p, Proc: proc, Place: sp.Place, Err: err})
			}
		}
		return err
	}
	wants := make([]breakpoint.Want, len(spots))
	quiet := r.jump.Quiet(p)
	for i, sp := range spots {
		wants[i] = breakpoint.Want{Addr: sp.Addr, Orig: sp.Orig, Rung: p.Spec.Rung, Quiet: quiet}
	}
	sites, errs := r.Insert(proc, wants)
	for i, sp := range spots {
		pl := sp.Placement(p, proc)
		pl.Err = errs[i]
		if errs[i] != nil && p.DebugServes(errs[i]) {
			if pl.Err = r.watchInstead(p, proc, sp, errs[i]); pl.Err == nil {
				continue
			}
		}
		if site := sites[i]; site != nil {
			pl.Site, pl.Rung = site, site.Rung
			if pl.Why == "" {
				pl.Why = site.Reason
			}
		}
		r.place(pl)
	}
	err := r.openGates(proc, sites)
	return errors.Join(err, r.upgradePlaced(p, proc, sites)) // of the others
}

func (r *Planter) place(pl *probe.Placement) {
	space := pl.Proc.Space
	if space.ID == 0 {
		r.spaces++
		space.ID = r.spaces
	}
	pl.Space = space.ID
	if pl.Site != nil {
		probe.Of(pl.Site).Add(pl)
	}
	pl.Probe.Places = append(pl.Probe.Places, pl)
}

// GuardSpace makes sure that all processes of a space survive our death before
// its first trap is planted: a parent, too, that waits for its vfork child and
// can be halted only when that is over.
func (r *Planter) GuardSpace(proc *inferior.Process, near arch.Addr, n int) error {
	fresh := false
	for _, p := range r.loop.Sharing(proc.Space) {
		if p.Guarded {
			continue
		}
		fresh = true
		err := r.remote.WithTask([]*inferior.Process{p}, func(t *inferior.Task) error { return r.guard.Prepare(t, near, n) })
		if err != nil && (p == proc || !ptrace.IsGone(err)) {
			return err
		}
	}
	if !fresh {
		return nil
	}
	if err := r.learnDispatch(proc); err != nil {
		return err
	}
	return r.onGuard(proc)
}

// Inherit gives a forked child's sites the placements of the parent's.
func (r *Planter) Inherit(parent, child *inferior.Process) {
	for _, site := range child.Space.Table.Sites() {
		g := &probe.Consumers{Plain: true}
		site.Tag = g
		old := parent.Space.Table.At(site.Addr)
		if child.Leaving || old == nil || old.Tag == nil {
			continue // it is let go before it executes anything
		}
		probe.Of(old).Shared = nil // the child adds to it, too
		for _, pl := range probe.Of(old).List {
			c := &probe.Placement{Probe: pl.Probe, Proc: child, Place: pl.Place, Hook: pl.Hook, Behind: pl.Behind, Aside: pl.Aside, Site: site, Rung: pl.Rung, Why: pl.Why, Child: true}
			switch {
			case pl.Hook != nil, pl.Probe.Gone, !r.covers(pl.Probe, child): // see strip
				g.Add(c)
			default:
				r.place(c)
			}
		}
	}
}
