package jump

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/symbols"
)

// errCallInside says why no jump displaces such a system call: the tracer does not see the hit of a
// jump, and so cannot turn the dispatch off.
var errCallInside = errors.New("a system call in it would come back to the program (PR_SET_SYSCALL_USER_DISPATCH)")

// The fast path. A site becomes a jump if all its probes only count, or have handlers that run in
// the program, and if the jump is proved to be safe. The jump leads to a trampoline: code that
// counts, runs the handlers, executes what the jump displaces, and jumps back. No task stops. The
// counters lie in memory that tracer and program share.
//
// Jumps are written and removed while all tasks of the space are halted and none of them stands in
// what is overwritten. A task in a trampoline that is to stop, or is to get a signal, is first
// stepped to the trampoline's end (xol.StepOut): what it has begun is done once, and the program
// never sees the trampoline.

// The reasons why a site stays a trap.
var (
	ErrStops      = errors.New("a probe there needs a stop")
	errExit       = errors.New("a conditional exit: the jump may stay in the function")
	errGoMiddle   = errors.New("in the middle of a Go function")
	errGoNop      = errors.New("goroutines resume at its second instruction")
	errInside     = errors.New("a suspended thread will resume inside the overwritten bytes")
	errFaults     = errors.New("an overwritten instruction may fault, and no tracer would be there to help")
	ErrFaulted    = errors.New("an instruction that the jump displaced has faulted")
	errTrapBehind = errors.New("it overlaps a trap that will be removed")
	errLong       = errors.New("a jump of full length serves as well")
	ErrStuck      = errors.New("not all tasks could be halted")
)

// Enabled is turned off by tests of traps.
var Enabled = true

// Quiet reports whether a probe's sites need no traps before they are jumps: hits at traps would
// hold the program up while jumps are made. In a process that comes back from another tracer they
// need traps: its jumps may have counted all the time, and no hit may be missed.
func (j *Jumps) Quiet(p *probe.Probe) bool {
	return p.MayJump() && (Enabled || j.inproc.Resident) && j.NoJumps() == nil && !j.Returning
}

// AddNear notes that a site of a process is to be planned with the next sites.
func (j *Jumps) AddNear(p *inferior.Process, site *breakpoint.Site) {
	j.near[p] = append(j.near[p], site)
}

// AnyNear reports whether there are such sites.
func (j *Jumps) AnyNear(p *inferior.Process) bool { return len(j.near[p]) > 0 }

// TakeNear returns these sites and forgets them.
func (j *Jumps) TakeNear(p *inferior.Process) []*breakpoint.Site {
	list := j.near[p]
	delete(j.near, p)
	return list
}

// Forked implements inferior.Room.
func (j *Jumps) Forked(parent, child *inferior.Process) {}

// Left implements inferior.Room: it forgets which sites of a process are to be jumps.
func (j *Jumps) Left(p *inferior.Process, _ bool) {
	delete(j.near, p)
	delete(j.crowded, p)
}

// Upgrade makes jumps of those of the sites that can be jumps. The placements of the others get the
// reason. Sites that are neither jumps nor traps yet get their traps.
func (j *Jumps) Upgrade(p *inferior.Process, sites []*breakpoint.Site) error {
	if err := j.NoJumps(); err != nil {
		for _, site := range sites {
			j.stayTrap(site, err)
		}
		return nil
	}
	list := make([]noRoom, len(sites))
	for i, site := range sites {
		list[i].site = site
	}
	if j.inproc.LooksAtThreadSlots(p.Space) && j.inproc.FewThreadSlots(p.Space) {
		p.Space.NoThreadSlots = true // if it were seen in the pause, all would be planned again
	}
	if err := j.reserve(p, sites); err != nil {
		return err
	}
	list, err := j.armPlanned(p, list, j.planOneByte)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].why = nil
	}
	if list, err = j.armPlanned(p, list, j.planAny); err != nil {
		return err
	}
	traps := slices.DeleteFunc(slices.Clone(sites), func(site *breakpoint.Site) bool {
		return probe.GateOf(site) != nil && len(probe.Of(site).List) == 1
	})
	if err := j.Speak(p, j.leanedOn(p, traps)); err != nil {
		return err
	}
	if list, err = j.armPlanned(p, list, j.planPun); err != nil {
		return err
	}
	if err := j.Speak(p, traps); err != nil {
		return err
	}
	for _, l := range list {
		j.stayTrap(l.site, l.why)
	}
	return nil
}

// leanedOn returns those of the sites that lie in what would be the displacement of another's pun.
// They need their patches first. The others are no traps before they are puns: a thread that meets
// a trap with SIGTRAP blocked dies if the tracer dies meanwhile.
func (j *Jumps) leanedOn(p *inferior.Process, sites []*breakpoint.Site) (list []*breakpoint.Site) {
	lean := map[*breakpoint.Site]bool{}
	for _, site := range sites {
		if site.Jumps() {
			continue
		}
		for _, x := range p.Space.Table.Within(site.Addr+1, site.Addr+arch.Addr(j.isa.JumpLen())) {
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

// planner plans the jump of one site. more is how many sites will be planned after it.
type planner func(p *inferior.Process, site *breakpoint.Site, more int) (*breakpoint.Upgrade, error)

// insideTries is how often a jump is tried while tasks are in its way.
const insideTries = 10

// armPlanned plans jumps of the sites and writes them. It returns the sites for which none could be
// planned, with the reason.
func (j *Jumps) armPlanned(p *inferior.Process, sites []noRoom, plan planner) (left []noRoom, err error) {
	for range insideTries {
		ups, no, err := j.planAll(p, sites, plan)
		if err != nil {
			return nil, err
		}
		inside, err := j.armJumps(p.Space, ups)
		if errors.Is(err, inproc.ErrNoThreadSlots) { // planned again, the code goes without slots
			continue
		}
		left = append(left, no...)
		if err != nil || len(inside) == 0 {
			return left, err
		}
		sites = slices.DeleteFunc(slices.Clone(sites), func(l noRoom) bool { return !slices.Contains(inside, l.site) })
		if err := j.loop.LetRun(time.Millisecond); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// planAll plans the jumps of sites. It returns the sites for which it could not, with the first
// reason that was found.
func (j *Jumps) planAll(p *inferior.Process, sites []noRoom, plan planner) (ups []*breakpoint.Upgrade, left []noRoom, err error) {
	served := map[*breakpoint.Site]bool{} // sites that the jump of another displaces
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

// noRoom is a site that can't have the jump that was planned, and why.
type noRoom struct {
	site *breakpoint.Site
	why  error
}

// planPun plans a pun for a site with too little room for a whole jump. A pun displaces the site's
// own instruction only, so there is nothing to prove. Puns come last: what lies behind them has its
// patches by then.
func (j *Jumps) planPun(p *inferior.Process, site *breakpoint.Site, _ int) (*breakpoint.Upgrade, error) {
	m := p.ModuleAt(site.Addr)
	if m == nil { // the program has made the code as it runs, and may change it
		return nil, symbols.ErrNoFunc
	}
	if err := jumpable(site); err != nil {
		return nil, err
	}
	if p.Space.Dispatches && site.Inst.Kind == arch.KindSyscall {
		return nil, errCallInside
	}
	jump := arch.Addr(j.isa.JumpLen())
	if j.inproc.Resident && slices.ContainsFunc(p.Space.Table.Within(site.End(), site.Addr+jump), func(x *breakpoint.Site) bool { return !x.Jumps() }) {
		return nil, errTrapBehind
	}
	code, err := j.codeOf(p, m, site)
	if err != nil {
		return nil, err
	}
	up := &breakpoint.Upgrade{Site: site, Pun: true, Code: code}
	return up, p.Space.Table.Plan(up, 1)
}

// Puns of one byte. A jump of which only one byte is written, as of a trap, does no harm to other
// tools' probes and breakpoints at the place, and they do no harm to it (breakpoint/DECISIONS.md,
// "Kernel uprobes that come to a jump"). So such jumps are planned first, as long as there is room
// for the code that they lead to.

// reserve makes that room for those of the sites that may be such jumps, first for functions that
// other objects can name.
func (j *Jumps) reserve(p *inferior.Process, sites []*breakpoint.Site) error {
	var named, others []*breakpoint.Site
	for _, site := range sites {
		m, err := j.oneByte(p, site)
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

// planOneByte plans a pun of one byte for a site.
func (j *Jumps) planOneByte(p *inferior.Process, site *breakpoint.Site, _ int) (*breakpoint.Upgrade, error) {
	m, err := j.oneByte(p, site)
	if err != nil {
		return nil, err
	}
	if !p.Space.Table.Reserved(site) {
		return nil, errLong
	}
	code, err := j.codeOf(p, m, site)
	if err != nil {
		return nil, err
	}
	up := &breakpoint.Upgrade{Site: site, Pun: true, OneByte: true, Code: code}
	return up, p.Space.Table.Plan(up, 1)
}

// oneByte returns the module of a site, or an error if the site is not to be a pun of one byte.
func (j *Jumps) oneByte(p *inferior.Process, site *breakpoint.Site) (*symbols.Module, error) {
	m := p.ModuleAt(site.Addr)
	if m == nil { // the program has made the code as it runs, and may change it
		return nil, symbols.ErrNoFunc
	}
	if err := jumpable(site); err != nil {
		return nil, err
	}
	for _, pl := range probe.Of(site).List {
		if pl.Hook != nil || pl.Exit != nil || pl.Probe.Spec.Rung == breakpoint.Jump {
			return nil, errLong
		}
	}
	if p.Space.Dispatches && site.Inst.Kind == arch.KindSyscall {
		return nil, errCallInside
	}
	jump := arch.Addr(j.isa.JumpLen())
	if len(p.Space.Table.Within(site.Addr-jump+1, site.Addr+jump)) > 1 {
		return nil, errLong
	}
	return m, nil
}

// planAny plans a jump for a site: a whole one, or a pun if no other site lies in what would be its
// last bytes. With such a site the pun must wait until that site has its patch.
func (j *Jumps) planAny(p *inferior.Process, site *breakpoint.Site, more int) (*breakpoint.Upgrade, error) {
	up, err := j.planJump(p, site, more)
	if err == nil || ptrace.IsGone(err) || len(p.Space.Table.Within(site.Addr+1, site.Addr+arch.Addr(j.isa.JumpLen()))) > 0 {
		return up, err
	}
	if pun, e := j.planPun(p, site, more); e == nil || ptrace.IsGone(e) {
		return pun, e
	}
	return nil, err
}

// NoJumps returns the reason why there are no jumps on this machine, or nil.
func (j *Jumps) NoJumps() error {
	ctx, err := program.ContextOf(j.isa.Name())
	if err != nil {
		return err
	}
	return handler.NativeAvailable(ctx)
}

// stayTrap notes at a site's placements why it is no jump.
func (j *Jumps) stayTrap(site *breakpoint.Site, why error) {
	for _, pl := range probe.Of(site).List {
		pl.Rung = site.Rung
		if pl.Hook == nil && site.Reason == "" && !errors.Is(why, ErrStops) {
			pl.Why = "no jump: " + Reason(why)
		}
	}
}

// Reason returns the text of an error without the address, which the placement has.
func Reason(err error) string {
	if se := new(breakpoint.SiteError); errors.As(err, &se) {
		return se.Err.Error()
	}
	return err.Error()
}

// planJump plans a whole jump for a site, and with it the sites that it displaces.
func (j *Jumps) planJump(p *inferior.Process, site *breakpoint.Site, more int) (*breakpoint.Upgrade, error) {
	if err := jumpable(site); err != nil {
		return nil, err
	}
	if p.Space.Dispatches && probe.GateOf(site) != nil { // the gate makes the call itself
		return nil, errCallInside
	}
	m := p.ModuleAt(site.Addr)
	from, end, err := j.findRoom(p, m, site)
	if err != nil {
		return nil, err
	}
	up, err := j.upgradeOf(p, m, site, from, end)
	if err != nil {
		return nil, err
	}
	return up, p.Space.Table.Plan(up, more)
}

// upgradeOf returns the upgrade of a site, with a jump that displaces what lies between from and
// end. Other sites there that can be jumps are served by it, too.
func (j *Jumps) upgradeOf(p *inferior.Process, m *symbols.Module, site *breakpoint.Site, from, end arch.Addr) (up *breakpoint.Upgrade, err error) {
	up = &breakpoint.Upgrade{Site: site, From: from}
	if up.Code, err = j.codeOf(p, m, site); err != nil {
		return nil, err
	}
	for _, other := range p.Space.Table.Within(from, end) {
		if other == site || other.Jumps() || jumpable(other) != nil {
			continue
		}
		code, err := j.codeOf(p, m, other)
		if err != nil {
			return nil, err
		}
		up.Others = append(up.Others, breakpoint.Other{Site: other, Code: code})
	}
	return up, nil
}

// jumpable returns an error if something at a site can't be done behind a jump.
func jumpable(site *breakpoint.Site) error {
	list := probe.Of(site).List
	if probe.Of(site).Faulted {
		return ErrFaulted
	}
	for _, pl := range list {
		if err := needsStop(pl); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return ErrStops
	}
	return nil
}

// needsStop returns an error if what a placement does needs a stop.
func needsStop(pl *probe.Placement) error {
	spec := func() *api.ProbeSpec { return &pl.Probe.Spec }
	switch {
	case pl.Behind != 0:
		return nil
	case pl.Hook != nil, spec().Action != api.ActionCount:
		return ErrStops
	case spec().Rung != breakpoint.Auto && spec().Rung != breakpoint.Jump:
		return ErrStops
	case pl.Probe.Handler != nil && !pl.Probe.Handler.Native:
		return ErrStops
	}
	return nil
}

// PlanAgain plans all jumps of a process's space again, by what is known of the space now.
func (j *Jumps) PlanAgain(p *inferior.Process) error {
	var jumps []*breakpoint.Site
	for _, site := range p.Space.Table.Sites() {
		if site.Jumps() {
			jumps = append(jumps, site)
		}
	}
	return j.loop.WhileHalted(func(breakpoint.Pause) error { // so that no task comes to the traps in between
		if err := j.Downgrade(p.Space, jumps, ""); err != nil {
			return err
		}
		return j.Upgrade(p, jumps)
	}, p.Space)
}

// Speak plants the traps of sites that have been quiet. Where the kernel refuses one, refusedAt
// decides what becomes of the placements.
func (j *Jumps) Speak(proc *inferior.Process, sites []*breakpoint.Site) error {
	var errs []error
	for _, site := range sites {
		if j.loop.Procs[proc.PID] != proc {
			break
		}
		if err := proc.Space.Table.Speak(site); ptrace.IsGone(err) {
			errs = append(errs, err)
		} else if err != nil {
			errs = append(errs, j.refusedAt(proc, site, err))
		}
	}
	return errors.Join(errs...)
}
