package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
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

// counter is where a placement's hits behind a jump are counted.
type counter struct {
	of *handler.Counters
	n  int
}

func (c counter) count() uint64 {
	if c.of == nil {
		return 0
	}
	return c.of.Count(c.n)
}

// count is how often a placement was hit.
func (pl *placement) count() uint64 { return pl.hits.Load() + pl.counter.count() }

// keepCounts takes over what was counted behind jumps, at the session's end, and
// gives the memory back.
func (s *session) keepCounts() {
	for _, p := range s.probes {
		for _, pl := range p.places {
			pl.hits.Add(pl.counter.count())
			pl.counter = counter{}
		}
	}
	for _, c := range s.counters {
		_ = c.Close()
	}
	s.counters = nil
}

// Why a site stays a trap.
var (
	errStops    = errors.New("a probe there needs a stop")
	errExit     = errors.New("an exit only sometimes")
	errGoMiddle = errors.New("in the middle of a Go function")
	errInside   = errors.New("a task is to come back to where the jump would lie")
	errFaults   = errors.New("an instruction in it may fault, for which nobody would stand in")
	errFaulted  = errors.New("an instruction that the jump displaced has faulted")
	errStuck    = errors.New("not all tasks could be halted")
)

// jumping is turned off by tests whose subject are traps.
var jumping = true

// mayJump is whether a probe's sites can be jumps, as far as it is concerned.
func (spec *ProbeSpec) mayJump() bool {
	return spec.Rung == breakpoint.Jump ||
		spec.Rung == breakpoint.Auto && spec.Action == Count && (spec.Handler == nil || spec.Handler.native)
}

// upgradePlaced makes jumps of a probe's sites, where its spec lets it.
func (s *session) upgradePlaced(p *probe, proc *inferior.Process, sites []*breakpoint.Site) error {
	if !p.spec.mayJump() || p.spec.Rung == breakpoint.Auto && !jumping && !s.opts.Resident || proc.Space.Guard.Data == 0 {
		return nil
	}
	seen := map[*breakpoint.Site]bool{}
	var list []*breakpoint.Site
	for _, site := range sites {
		if site != nil && !seen[site] && site.Armed() {
			seen[site] = true
			list = append(list, site)
		}
	}
	err := s.upgrade(proc, list)
	if p.spec.Rung == breakpoint.Jump {
		err = errors.Join(err, s.onlyJumps(p, proc))
	}
	return err
}

// onlyJumps takes what could not be made a jump from a probe that wants nothing
// else.
func (s *session) onlyJumps(p *probe, proc *inferior.Process) error {
	var errs []error
	for _, pl := range p.places {
		if pl.proc == proc && pl.site != nil && !pl.site.Jumps() {
			pl.err = fmt.Errorf("%w: %s", breakpoint.ErrUnsupported, cmp.Or(pl.why, errStops.Error()))
			errs = append(errs, s.unplace(pl))
		}
	}
	return errors.Join(errs...)
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
	for range insideTries {
		ups, err := s.planAll(p, sites)
		if len(ups) == 0 || err != nil {
			return err
		}
		if sites, err = s.armJumps(p.Space, ups); len(sites) == 0 || err != nil {
			return err
		}
		if err := s.letRun(time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// insideTries is how often a jump is tried where tasks are in the way.
const insideTries = 10

// planAll gets the jumps of those of the sites ready that can have one.
func (s *session) planAll(p *inferior.Process, sites []*breakpoint.Site) (ups []*breakpoint.Upgrade, err error) {
	for i, site := range sites {
		if !site.Armed() {
			continue
		}
		up, err := s.plan(p, site, len(sites)-i)
		if isGone(err) {
			return nil, err
		}
		if err != nil {
			s.stayTrap(site, err)
			continue
		}
		ups = append(ups, up)
	}
	return ups, nil
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

// plan gets the jump of one site ready.
func (s *session) plan(p *inferior.Process, site *breakpoint.Site, more int) (*breakpoint.Upgrade, error) {
	list := site.Tag.(*tag).list
	if site.Tag.(*tag).faulted {
		return nil, errFaulted
	}
	for _, pl := range list {
		if err := pl.jumps(); err != nil {
			return nil, err
		}
	}
	m := moduleAt(p, site.Addr)
	way := compile.Way{Flags: true, Skip: redZone, PC: site.Addr}
	if err := s.proveJump(m, site, list[0], &way); err != nil {
		return nil, err
	}
	pieces := make([]handler.Piece, 0, 2*len(list))
	for _, pl := range list {
		ps, err := s.pieces(p, pl, way)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, ps...)
	}
	up := &breakpoint.Upgrade{Site: site, Code: func(at arch.Addr) ([]byte, error) { return handler.Native(pieces, at) }}
	return up, p.Space.Table.Plan(up, more)
}

// redZone is what a function may use below its stack pointer, bytes (System V
// ABI; of arm64, Go keeps the frame pointer there).
var redZone = map[bool]int{true: 128, false: 16}[ptrace.OnePC]

// jumps is whether what a placement does can be done behind a jump.
func (pl *placement) jumps() error {
	spec := func() *ProbeSpec { return &pl.probe.spec }
	switch {
	case pl.hook != nil, spec().Action != Count:
		return errStops
	case spec().Rung != breakpoint.Auto && spec().Rung != breakpoint.Jump:
		return errStops
	case spec().Handler != nil && !spec().Handler.native:
		return errStops
	case pl.exit != nil && !pl.exit.always:
		return errExit
	}
	return nil
}

// proveJump proves that nothing leads behind the start of what a jump displaces,
// and says on what way the code behind it runs.
func (s *session) proveJump(m *symbols.Module, site *breakpoint.Site, pl *placement, way *compile.Way) error {
	insts, err := s.isa.Run(site.Code(), site.Addr, s.isa.JumpLen())
	if err != nil {
		return err
	}
	isGo := m != nil && m.File.IsGo()
	// A fault is shown where the program has the instruction, which is to go on
	// there (faultInside): by us. Go looks where faults are.
	if (isGo || s.opts.Resident) && slices.ContainsFunc(insts, func(in arch.Inst) bool { return in.Faults }) {
		return errFaults
	}
	if pl.start {
		way.Flags = m == nil || s.continues(m, site) // no calling convention has any at a function's start
		if isGo {
			way.Stack, way.Skip = goStack, goSkip
		}
	} else if isGo {
		return errGoMiddle
	}
	if m == nil {
		if len(insts) == 1 && s.isa.MinInst() == 4 {
			return nil
		}
		return symbols.ErrNoFunc
	}
	at := site.Addr - m.Bias
	var inner []arch.Addr
	for _, in := range insts[:len(insts)-1] {
		at += arch.Addr(in.Len)
		inner = append(inner, at)
	}
	return m.File.Undisturbed(s.isa, site.Addr-m.Bias, s.isa.JumpLen(), inner)
}

// continues is whether a function's start is somewhere in the middle of another.
func (s *session) continues(m *symbols.Module, site *breakpoint.Site) bool {
	fn, ok := m.File.FunctionAt(site.Addr - m.Bias)
	return !ok || m.File.Continues(s.isa, fn)
}

// goStack is how much of a goroutine's stack is taken: functions may begin with
// next to nothing left of it. At their start nothing lies below the stack
// pointer, but for arm64's frame pointer.
const goStack = 64

var goSkip = map[bool]int{true: 0, false: 16}[ptrace.OnePC]

func moduleAt(p *inferior.Process, addr arch.Addr) *symbols.Module {
	for _, m := range p.Modules {
		for _, r := range m.Ranges {
			if r.Contains(addr) {
				return m
			}
		}
	}
	return nil
}

// pieces are the programs that do what a placement does: count, and its
// handler's.
func (s *session) pieces(p *inferior.Process, pl *placement, way compile.Way) (list []handler.Piece, err error) {
	if pl.counter.of == nil {
		if err := s.newCounter(pl); err != nil {
			return nil, err
		}
	}
	way.Cookie, way.FuncIP = pl.probe.spec.Cookie, uint64(pl.addr)
	add := func(r *verify.Result, set *maps.Set) error {
		at, err := s.share(p, set, pl.addr)
		list = append(list, handler.Piece{Program: r, Set: set, Region: at, Way: way})
		return err
	}
	count, err := pl.counter.of.Program(pl.counter.n)
	if err == nil {
		err = add(count, pl.counter.of.Set())
	}
	h := pl.probe.spec.Handler
	if err != nil || h == nil || h.shut || pl.exit != nil && pl.exit.tail && h.result {
		return list, err
	}
	return list, add(h.in.At(pl.point), h.in.Maps.(*handler.Interpreted).Set)
}

func (s *session) newCounter(pl *placement) error {
	if k := len(s.counters); k > 0 {
		if n, ok := s.counters[k-1].Take(); ok {
			pl.counter = counter{s.counters[k-1], n}
			return nil
		}
	}
	ctx, err := program.ContextOf(s.isa.Name())
	if err != nil {
		return err
	}
	c, err := handler.NewCounters(ctx, s.newFile())
	if err != nil {
		return err
	}
	s.counters = append(s.counters, c)
	n, _ := c.Take()
	pl.counter = counter{c, n}
	return nil
}
