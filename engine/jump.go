package engine

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
)

// The fast path. A site whose probes all count only, or have handlers that run
// in the program itself, becomes a jump where that is proved to be safe: to code
// that counts and runs the handlers, executes what the jump displaces, and jumps
// back. Nobody stops. What it counts is in memory that we share.
//
// Jumps are planted, and taken away, while all tasks of the space are halted,
// and none of them stands in what is overwritten. A task that stands behind a
// jump when it is to be stopped or is to get a signal is first stepped through
// to the program's own code (leaveRun): what it has begun is done once, and the
// program never sees that code.

// Why a site stays a trap.
var (
	errStops      = errors.New("a probe there needs a stop")
	errExit       = errors.New("a conditional exit: the jump may stay in the function")
	errGoMiddle   = errors.New("in the middle of a Go function")
	errGoNop      = errors.New("goroutines resume at its second instruction")
	errInside     = errors.New("a suspended thread will resume inside the overwritten bytes")
	errFaults     = errors.New("an overwritten instruction may fault, and no tracer would be there to help")
	errFaulted    = errors.New("an instruction that the jump displaced has faulted")
	errTrapBehind = errors.New("it overlaps a trap that will be removed")
	errLong       = errors.New("a jump of full length serves as well")
	errStuck      = errors.New("not all tasks could be halted")
)

// jumping is turned off by tests whose subject are traps.
var jumping = true

// mayJump is whether a probe's sites can be jumps, as far as it is concerned.
func (p *probe) mayJump() bool {
	spec := &p.spec
	return spec.Rung == breakpoint.Jump ||
		spec.Rung == breakpoint.Auto && spec.Action == ActionCount && (p.handler == nil || p.handler.native)
}

// quiet is whether a probe's sites need not be traps before they are jumps: hits at
// traps would hold the program up while jumps are made. In a process that comes back
// from another tracer they have been there all the time.
func (s *session) quiet(p *probe) bool {
	return p.mayJump() && (jumping || s.opts.Resident) && s.noJumps() == nil && !s.returning
}

// upgradePlaced makes jumps of a probe's sites, where its spec lets it, and traps of
// the others.
func (s *session) upgradePlaced(p *probe, proc *inferior.Process, sites []*breakpoint.Site) error {
	err := s.upgradeThose(p, proc, sites)
	err = errors.Join(s.speak(proc, sites), err)
	if p.spec.Rung == breakpoint.Jump {
		err = errors.Join(err, s.onlyJumps(p, proc))
	}
	return err
}

// upgradeThose makes jumps of those of a probe's sites that can be, and of those that
// have made room.
func (s *session) upgradeThose(p *probe, proc *inferior.Process, sites []*breakpoint.Site) error {
	near := s.near[proc]
	delete(s.near, proc)
	switch {
	case p.spec.Rung == breakpoint.Auto && !jumping && !s.opts.Resident || proc.Space.Guard.Data == 0:
		return nil
	case p.mayJump():
		sites = slices.Concat(near, sites) // where a start has room for what is behind it, too
	default:
		sites = near
	}
	seen := map[*breakpoint.Site]bool{}
	var list []*breakpoint.Site
	for _, site := range sites {
		if site != nil && !seen[site] && site.Armed() {
			seen[site] = true
			list = append(list, site)
		}
	}
	if err := s.upgrade(proc, list); err != nil {
		return err
	}
	return s.hookGated(proc)
}

// onlyJumps takes what could not be made a jump from a probe that wants nothing
// else.
func (s *session) onlyJumps(p *probe, proc *inferior.Process) error {
	var list []*placement
	for _, pl := range p.places {
		if pl.proc == proc && pl.site != nil && !pl.site.Jumps() {
			pl.err = failure.Unsupportedf("%s", cmp.Or(pl.why, errStops.Error()))
			list = append(list, pl)
		}
	}
	counters, err := s.unplaceAll(list)
	if err == nil {
		s.spareCounters(counters)
	}
	return err
}

// upgrade makes jumps of those of the sites that can be; the others get the
// reason.
func (s *session) upgrade(p *inferior.Process, sites []*breakpoint.Site) error {
	if err := s.noJumps(); err != nil {
		for _, site := range sites {
			s.stayTrap(site, err)
		}
		return nil
	}
	list := make([]noRoom, len(sites))
	for i, site := range sites {
		list[i].site = site
	}
	if s.looksAtLines(p.Space) && s.fewLines(p.Space) {
		p.Space.NoLines = true // seen in the pause, all would be planned again
	}
	if err := s.reserve(p, sites); err != nil {
		return err
	}
	list, err := s.armPlanned(p, list, s.planOneByte)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].why = nil
	}
	if list, err = s.armPlanned(p, list, s.planAny); err != nil {
		return err
	}
	traps := slices.DeleteFunc(slices.Clone(sites), func(site *breakpoint.Site) bool {
		return gateOf(site) != nil && len(site.Tag.(*tag).list) == 1
	})
	if err := s.speak(p, s.leanedOn(p, traps)); err != nil {
		return err
	}
	if list, err = s.armPlanned(p, list, s.planPun); err != nil {
		return err
	}
	if err := s.speak(p, traps); err != nil {
		return err
	}
	for _, l := range list {
		s.stayTrap(l.site, l.why)
	}
	return nil
}

// leanedOn are those of the sites that lie in what would be the displacement of another's
// pun: they need their patches first. Others are no traps before they are puns: a trap
// that a thread meets with SIGTRAP blocked kills it, should the tracer die meanwhile.
func (s *session) leanedOn(p *inferior.Process, sites []*breakpoint.Site) (list []*breakpoint.Site) {
	lean := map[*breakpoint.Site]bool{}
	for _, site := range sites {
		if site.Jumps() {
			continue
		}
		for _, x := range p.Space.Table.Within(site.Addr+1, site.Addr+arch.Addr(s.isa.JumpLen())) {
			lean[x] = true
		}
	}
	for _, site := range sites {
		if lean[site] {
			list = append(list, site)
		}
	}
	return list
}

// planner gets a jump of a site ready; more is how many others will be asked for.
type planner func(p *inferior.Process, site *breakpoint.Site, more int) (*breakpoint.Upgrade, error)

// insideTries is how often a jump is tried where tasks are in the way.
const insideTries = 10

// armPlanned makes jumps of those of the sites for which one can be planned, and gives
// back the others, with the reason.
func (s *session) armPlanned(p *inferior.Process, sites []noRoom, plan planner) (left []noRoom, err error) {
	for range insideTries {
		ups, no, err := s.planAll(p, sites, plan)
		if err != nil {
			return nil, err
		}
		inside, err := s.armJumps(p.Space, ups)
		if errors.Is(err, errNoLines) { // planned again, it goes without
			continue
		}
		left = append(left, no...)
		if err != nil || len(inside) == 0 {
			return left, err
		}
		sites = slices.DeleteFunc(slices.Clone(sites), func(l noRoom) bool { return !slices.Contains(inside, l.site) })
		if err := s.loop.LetRun(time.Millisecond); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// planAll gets the jumps of those of the sites ready that can have one. The first
// reason why not stands.
func (s *session) planAll(p *inferior.Process, sites []noRoom, plan planner) (ups []*breakpoint.Upgrade, left []noRoom, err error) {
	served := map[*breakpoint.Site]bool{} // maybe by the jump of another
	for i, l := range sites {
		if !l.site.Armed() || l.site.Jumps() || served[l.site] {
			continue
		}
		up, err := plan(p, l.site, len(sites)-i)
		if ptrace.IsGone(err) {
			return nil, nil, err
		}
		if err != nil {
			left = append(left, noRoom{l.site, cmp.Or(l.why, err)})
			continue
		}
		ups = append(ups, up)
		for _, o := range up.Others {
			served[o.Site] = true
		}
	}
	return ups, slices.DeleteFunc(left, func(l noRoom) bool { return served[l.site] }), nil
}

// noRoom is a site that can't have a jump of full length.
type noRoom struct {
	site *breakpoint.Site
	why  error
}

// planPun gets a jump ready for a site with less room than that needs. It displaces
// the site's instruction only: there is nothing to prove. Puns come last: what is
// behind them has its patches.
func (s *session) planPun(p *inferior.Process, site *breakpoint.Site, _ int) (*breakpoint.Upgrade, error) {
	m := moduleAt(p, site.Addr)
	if m == nil { // code that is made as the program runs may change
		return nil, symbols.ErrNoFunc
	}
	if err := jumpable(site); err != nil {
		return nil, err
	}
	if p.Space.Dispatches && site.Inst.Kind == arch.KindSyscall {
		return nil, errCallInside
	}
	jump := arch.Addr(s.isa.JumpLen())
	if s.opts.Resident && slices.ContainsFunc(p.Space.Table.Within(site.End(), site.Addr+jump), func(x *breakpoint.Site) bool { return !x.Jumps() }) {
		return nil, errTrapBehind
	}
	code, err := s.codeOf(p, m, site)
	if err != nil {
		return nil, err
	}
	up := &breakpoint.Upgrade{Site: site, Pun: true, Code: code}
	return up, p.Space.Table.Plan(up, 1)
}

// A jump of which only one byte is written, as a trap's is, is harmless to other tools'
// probes and breakpoints there, and they to it (breakpoint/DECISIONS.md, "Kernel uprobes
// that come to a jump"). So these come first, as long as there is room for where they lead.

// reserve makes that room for those of the sites that may be such jumps, for functions
// that others can name first.
func (s *session) reserve(p *inferior.Process, sites []*breakpoint.Site) error {
	var named, others []*breakpoint.Site
	for _, site := range sites {
		m, err := s.oneByte(p, site)
		if err != nil || site.Jumps() {
			continue
		}
		if fn, ok := m.File.FunctionAt(site.Addr - m.Bias); ok && !fn.Local {
			named = append(named, site)
		} else {
			others = append(others, site)
		}
	}
	err := p.Space.Table.Reserve(append(named, others...))
	if remote.Forbids(err) {
		return nil
	}
	return err
}

// planOneByte gets such a jump ready for a site.
func (s *session) planOneByte(p *inferior.Process, site *breakpoint.Site, _ int) (*breakpoint.Upgrade, error) {
	m, err := s.oneByte(p, site)
	if err != nil {
		return nil, err
	}
	if !p.Space.Table.Reserved(site) {
		return nil, errLong
	}
	code, err := s.codeOf(p, m, site)
	if err != nil {
		return nil, err
	}
	up := &breakpoint.Upgrade{Site: site, Pun: true, OneByte: true, Code: code}
	return up, p.Space.Table.Plan(up, 1)
}

// oneByte reports why a site is not to be such a jump, and the module that it is in.
func (s *session) oneByte(p *inferior.Process, site *breakpoint.Site) (*symbols.Module, error) {
	m := moduleAt(p, site.Addr)
	if m == nil { // code that is made as the program runs may change
		return nil, symbols.ErrNoFunc
	}
	if err := jumpable(site); err != nil {
		return nil, err
	}
	for _, pl := range site.Tag.(*tag).list {
		if pl.hook != nil || pl.exit != nil || pl.probe.spec.Rung == breakpoint.Jump {
			return nil, errLong
		}
	}
	if p.Space.Dispatches && site.Inst.Kind == arch.KindSyscall {
		return nil, errCallInside
	}
	jump := arch.Addr(s.isa.JumpLen())
	if len(p.Space.Table.Within(site.Addr-jump+1, site.Addr+jump)) > 1 {
		return nil, errLong
	}
	return m, nil
}

// planAny gets a jump ready for a site: one of full length, or a pun where nothing else of
// ptracer's lies in what would be its last bytes. Others have to wait until that has its patches.
func (s *session) planAny(p *inferior.Process, site *breakpoint.Site, more int) (*breakpoint.Upgrade, error) {
	up, err := s.planJump(p, site, more)
	if err == nil || ptrace.IsGone(err) || len(p.Space.Table.Within(site.Addr+1, site.Addr+arch.Addr(s.isa.JumpLen()))) > 0 {
		return up, err
	}
	if pun, e := s.planPun(p, site, more); e == nil || ptrace.IsGone(e) {
		return pun, e
	}
	return nil, err
}

// noJumps is why there are no jumps on this machine.
func (s *session) noJumps() error {
	ctx, err := program.ContextOf(s.isa.Name())
	if err != nil {
		return err
	}
	return handler.NativeAvailable(ctx)
}

// stayTrap notes why a site is no jump.
func (s *session) stayTrap(site *breakpoint.Site, why error) {
	for _, pl := range site.Tag.(*tag).list {
		pl.rung = site.Rung
		if pl.hook == nil && site.Reason == "" && !errors.Is(why, errStops) {
			pl.why = "no jump: " + reason(why)
		}
	}
}

// reason is what an error says without the address that its placement has.
func reason(err error) string {
	if se := new(breakpoint.SiteError); errors.As(err, &se) {
		return se.Err.Error()
	}
	return err.Error()
}

// planJump gets the jump of one site ready, with the sites that it displaces, too.
func (s *session) planJump(p *inferior.Process, site *breakpoint.Site, more int) (*breakpoint.Upgrade, error) {
	if err := jumpable(site); err != nil {
		return nil, err
	}
	if p.Space.Dispatches && gateOf(site) != nil { // which makes the call itself
		return nil, errCallInside
	}
	m := moduleAt(p, site.Addr)
	from, end, err := s.findRoom(p, m, site)
	if err != nil {
		return nil, err
	}
	up, err := s.upgradeOf(p, m, site, from, end)
	if err != nil {
		return nil, err
	}
	return up, p.Space.Table.Plan(up, more)
}

// upgradeOf is a jump of a site's that displaces what lies between two addresses, with
// the sites there that can be served by it, too.
func (s *session) upgradeOf(p *inferior.Process, m *symbols.Module, site *breakpoint.Site, from, end arch.Addr) (up *breakpoint.Upgrade, err error) {
	up = &breakpoint.Upgrade{Site: site, From: from}
	if up.Code, err = s.codeOf(p, m, site); err != nil {
		return nil, err
	}
	for _, other := range p.Space.Table.Within(from, end) {
		if other == site || other.Jumps() || jumpable(other) != nil {
			continue
		}
		code, err := s.codeOf(p, m, other)
		if err != nil {
			return nil, err
		}
		up.Others = append(up.Others, breakpoint.Other{Site: other, Code: code})
	}
	return up, nil
}

// jumpable is whether what is done at a site can be done behind a jump.
func jumpable(site *breakpoint.Site) error {
	list := site.Tag.(*tag).list
	if site.Tag.(*tag).faulted {
		return errFaulted
	}
	for _, pl := range list {
		if err := pl.jumps(); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return errStops
	}
	return nil
}

// jumps is whether what a placement does can be done behind a jump.
func (pl *placement) jumps() error {
	spec := func() *ProbeSpec { return &pl.probe.spec }
	switch {
	case pl.behind != 0:
		return nil
	case pl.hook != nil, spec().Action != ActionCount:
		return errStops
	case spec().Rung != breakpoint.Auto && spec().Rung != breakpoint.Jump:
		return errStops
	case pl.probe.handler != nil && !pl.probe.handler.native:
		return errStops
	}
	return nil
}

func moduleAt(p *inferior.Process, addr arch.Addr) *symbols.Module {
	for _, m := range p.Modules {
		if mapped(m, addr) {
			return m
		}
		for _, c := range m.Copies {
			if mapped(c, addr) {
				return c
			}
		}
	}
	return nil
}

// mapped is whether an address lies in what a process has mapped executable of an object.
func mapped(m *symbols.Module, addr arch.Addr) bool {
	return slices.ContainsFunc(m.Ranges, func(r procfs.Mapping) bool { return r.Contains(addr) })
}
