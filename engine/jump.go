package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"

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

// Why a site stays a trap.
var (
	errStops    = errors.New("a probe there needs a stop")
	errExit     = errors.New("not at exits by jumps yet")
	errGoMiddle = errors.New("in the middle of a Go function")
	errInside   = errors.New("a task is to come back to where the jump would lie")
	errStuck    = errors.New("not all tasks could be halted")
)

// jumping is turned off by tests whose subject are traps.
var jumping = true

// upgrade makes jumps of those of the sites that can be; the others get the
// reason.
func (s *session) upgrade(p *inferior.Process, sites []*breakpoint.Site) error {
	if err := s.noJumps(); err != nil {
		for _, site := range sites {
			s.stayTrap(site, err)
		}
		return nil
	}
	var ups []*breakpoint.Upgrade
	for i, site := range sites {
		up, err := s.plan(p, site, len(sites)-i)
		if isGone(err) {
			return err
		}
		if err != nil {
			s.stayTrap(site, err)
			continue
		}
		ups = append(ups, up)
	}
	if len(ups) == 0 {
		return nil
	}
	return s.armJumps(p.Space, ups)
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
	case pl.exit != nil && (pl.exit.tail || !pl.exit.always):
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
	return m.File.Undisturbed(s.isa, site.Addr-m.Bias, s.isa.JumpLen(), len(insts) > 1)
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
	if err != nil || h == nil || h.shut {
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
	c, err := handler.NewCounters(ctx)
	if err != nil {
		return err
	}
	s.counters = append(s.counters, c)
	n, _ := c.Take()
	pl.counter = counter{c, n}
	return nil
}

// armJumps plants jumps in one pause of the space's tasks.
func (s *session) armJumps(space *inferior.Space, ups []*breakpoint.Upgrade) error {
	err := s.whileHalted(space, func(stuck int) error {
		if stuck > 0 {
			for _, up := range ups {
				space.Table.Drop(up)
				s.stayTrap(up.Site, errStuck)
			}
			return nil
		}
		ups = s.free(space, ups)
		for i, err := range space.Table.Arm(ups) {
			if err != nil {
				s.stayTrap(ups[i].Site, err)
			}
		}
		return s.moveIntoRuns(space, ups)
	})
	for _, up := range ups {
		if up.Site.Jumps() {
			for _, pl := range up.Site.Tag.(*tag).list {
				pl.rung, pl.why = breakpoint.Jump, up.Site.Reason
			}
		}
	}
	return err
}

// whileHalted runs f while all tasks of a space that can be are halted, and none
// of these stands behind a jump.
func (s *session) whileHalted(space *inferior.Space, f func(stuck int) error) error {
	ps := s.sharing(space)
	start := now()
	err := f(s.haltAll(ps))
	var errs []error
	for _, p := range ps {
		for _, t := range p.Tasks {
			if e := s.unhalt(t); e != nil && !isGone(e) {
				errs = append(errs, e)
			}
		}
	}
	s.pause(now() - start)
	return errors.Join(append(errs, err)...)
}

// moveIntoRuns has tasks that would go on in the middle of jumps that have been
// armed go on behind these: those that stood there, and those in the slots of
// the traps that were there before. The latter's hits have been told.
func (s *session) moveIntoRuns(space *inferior.Space, ups []*breakpoint.Upgrade) error {
	at := map[arch.Addr]*breakpoint.Upgrade{}
	for _, up := range ups {
		if !up.Site.Jumps() {
			continue
		}
		at[up.Site.Addr] = up
		for _, a := range up.Displaces() {
			at[a] = up
		}
	}
	s.forgetSkips(space, at)
	var errs []error
	for _, p := range s.sharing(space) {
		for _, t := range p.Tasks {
			errs = append(errs, s.moveIntoRun(t, at))
		}
	}
	return errors.Join(errs...)
}

func (s *session) moveIntoRun(t *inferior.Task, at map[arch.Addr]*breakpoint.Upgrade) error {
	r, err := t.Regs()
	if err != nil || t.State == inferior.Gone {
		return nil
	}
	pc := arch.Addr(r[s.isa.PCReg()])
	now := *r
	fix, site, inSlot := t.Process.Space.Table.Locate(pc)
	if inSlot {
		if now, err = s.applyFix(t, now, fix); err != nil {
			return err
		}
	}
	to := arch.Addr(now[s.isa.PCReg()])
	up := at[to]
	if up == nil || to == up.Site.Addr && (!inSlot || site != up.Site) {
		return nil // a task that has just come to the site is going to hit
	}
	run, ok := up.Continue(to)
	if !ok {
		return fmt.Errorf("task %d: no way on behind the jump at %v", t.TID, up.Site.Addr)
	}
	now[s.isa.PCReg()] = uint64(run)
	t.SetRegs(&now)
	return nil
}

// forgetSkips is for tasks that will come back to a site with a hit that has
// been told (addSkip): behind a jump it is told again.
func (s *session) forgetSkips(space *inferior.Space, at map[arch.Addr]*breakpoint.Upgrade) {
	space.Skips = slices.DeleteFunc(space.Skips, func(k inferior.Skip) bool {
		up := at[k.Addr]
		if up == nil || up.Site.Addr != k.Addr {
			return false
		}
		for _, pl := range up.Site.Tag.(*tag).list {
			pl.hits.Add(^uint64(0))
		}
		return true
	})
}

// free are the jumps in the middle of which no task is going to come back: what
// a signal has interrupted there lies on its stack.
func (s *session) free(space *inferior.Space, ups []*breakpoint.Upgrade) (list []*breakpoint.Upgrade) {
	inner := map[arch.Addr]*breakpoint.Upgrade{}
	lowest, highest := arch.Addr(math.MaxUint64), arch.Addr(0)
	for _, up := range ups {
		for _, a := range up.Displaces() {
			inner[a] = up
			lowest, highest = min(lowest, a), max(highest, a)
		}
	}
	if len(inner) == 0 {
		return ups
	}
	busy := map[*breakpoint.Upgrade]bool{}
	look := func(v uint64) {
		if a := arch.Addr(v); a >= lowest && a <= highest && inner[a] != nil {
			busy[inner[a]] = true
		}
	}
	for _, p := range s.sharing(space) {
		stacks, _ := symbols.Maps(p.PID)
		for _, t := range p.Tasks {
			r, err := t.Regs()
			if err != nil {
				continue
			}
			for _, v := range stackWords(space, stacks, arch.Addr(r[s.isa.SPReg()])) {
				look(v)
			}
		}
	}
	for _, up := range ups {
		if busy[up] {
			space.Table.Drop(up)
			s.stayTrap(up.Site, errInside)
			continue
		}
		list = append(list, up)
	}
	return list
}

// stackWords are the words of the stack that sp lies in, from there to its end,
// as far as a signal's frame can be.
func stackWords(space *inferior.Space, maps []symbols.Mapping, sp arch.Addr) []uint64 {
	const most = 256 << 10
	sp &^= 7
	for _, m := range maps {
		if sp < m.Start || sp >= m.End {
			continue
		}
		buf := make([]byte, min(m.End-sp, most))
		n, _ := space.Memory.ReadSome(sp, buf)
		words := make([]uint64, n/8)
		for i := range words {
			words[i] = le64(buf[8*i:])
		}
		return words
	}
	return nil
}

// downgrade makes traps of sites that are jumps.
func (s *session) downgrade(space *inferior.Space, sites []*breakpoint.Site, why string) error {
	if len(sites) == 0 {
		return nil
	}
	return s.whileHalted(space, func(stuck int) error {
		if stuck > 0 {
			return fmt.Errorf("%w: %w", errStuck, errBusy)
		}
		err := space.Table.Disarm(sites, why)
		for _, site := range sites {
			for _, pl := range site.Tag.(*tag).list {
				pl.rung, pl.why = site.Rung, why
			}
		}
		return err
	})
}

// makeRoom makes traps of the jumps that displace anything in the n bytes at any
// of the addresses.
func (s *session) makeRoom(p *inferior.Process, addrs []arch.Addr, n int) error {
	table := p.Space.Table
	if !table.AnyJump() {
		return nil
	}
	var list []*breakpoint.Site
	seen := map[*breakpoint.Site]bool{}
	for _, a := range addrs {
		for _, site := range table.JumpsOver(a, n) {
			if !seen[site] {
				seen[site] = true
				list = append(list, site)
			}
		}
	}
	return s.downgrade(p.Space, list, "another probe is near")
}

// leaving is how leaveRun has left a task.
type leaving struct {
	moved bool         // it is in another stop now: of a step, or the fault's
	late  ptrace.Signo // came meanwhile and can't wait: SIGSTOP
	fault ptrace.Signo // a displaced instruction faults: the task has not left
}

// leaveRun steps a task that stands behind a jump through to the program's own
// code. Signals that come meanwhile wait: with ordered, since one is in our hands
// that they must not overtake, they are blocked from the first step on.
func (s *session) leaveRun(t *inferior.Task, ordered bool) (l leaving, err error) {
	table := t.Process.Space.Table
	if !table.AnyRun() {
		return l, nil
	}
	var mask uint64
	var blocked bool
	var inject ptrace.Signo
	defer func() {
		if blocked && t.State != inferior.Gone {
			err = errors.Join(err, ptrace.SetSigMask(t.TID, mask))
		}
	}()
	block := func() (err error) {
		if blocked {
			return nil
		}
		if mask, err = ptrace.GetSigMask(t.TID); err == nil {
			err, blocked = ptrace.SetSigMask(t.TID, ^uint64(bitTrap|bitsSync)), true // faults come
		}
		return err
	}
	for range maxRunSteps {
		pc, err := t.PC()
		if err != nil {
			return l, err
		}
		if !table.InRun(pc) {
			l.late = max(l.late, inject)
			break
		}
		if fix, _, ok := table.Locate(pc); ok && !fix.Before && inject == 0 {
			break
		}
		if ordered {
			err = block()
		}
		if err := errors.Join(err, t.Flush(), ptrace.Step(t.TID, inject)); err != nil {
			return l, err
		}
		inject = 0
		stop, err := s.next(t)
		if err != nil {
			return l, err
		}
		l.moved = true
		switch {
		case stop.Kind == ptrace.Exited, stop.Kind == ptrace.Killed:
			_ = s.onEnd(t, stop)
			return l, ptrace.ErrGone
		case stop.Kind != ptrace.Signal || stop.Signal == ptrace.SIGTRAP:
			continue
		case stop.Signal == ptrace.SIGSTOP:
			l.late = stop.Signal
			continue
		}
		if fault, err := isFault(t, stop.Signal); fault || err != nil {
			l.fault = stop.Signal
			return l, err
		}
		// Injected while it is blocked, it waits with all that belongs to it.
		inject = stop.Signal
		if err := block(); err != nil {
			return l, err
		}
	}
	return l, s.showEnd(t)
}

// isFault is whether a task has been stopped by a fault of its own.
func isFault(t *inferior.Task, signal ptrace.Signo) (bool, error) {
	if bitsSync>>(signal-1)&1 == 0 {
		return false, nil
	}
	var info ptrace.SigInfo
	err := ptrace.GetSigInfo(t.TID, &info)
	return info.Code() > 0, err
}

// showEnd puts a task that has only the jump back before it where that leads,
// and one whose displaced instruction has faulted where the program has that.
func (s *session) showEnd(t *inferior.Task) error {
	table := t.Process.Space.Table
	pc, err := t.PC()
	if err != nil || !table.InRun(pc) {
		return err
	}
	fix, _, ok := table.Locate(pc)
	if !ok {
		return nil
	}
	r, err := t.Regs()
	if err != nil {
		return err
	}
	fixed, err := s.applyFix(t, *r, fix)
	if err == nil {
		t.SetRegs(&fixed)
	}
	return err
}

// maxRunSteps is more than any run has instructions.
const maxRunSteps = 4096

// outOfRun is leaveRun for a task in an event stop, which it is to be in again
// behind it; done says that this is on its way.
func (s *session) outOfRun(t *inferior.Task) (done bool, err error) {
	l, err := s.leaveRun(t, false)
	if !l.moved || err != nil {
		return l.moved, err
	}
	signal := l.late
	if l.fault != 0 {
		signal = l.fault
		err = s.showEnd(t)
	}
	t.Asked = true
	return true, errors.Join(err, ptrace.Interrupt(t.TID), s.letGo(t, signal))
}

// unjump takes a handler out of the code behind jumps; hits are counted on.
func (s *session) unjump(h *Handler) error {
	if !h.native {
		return nil
	}
	err := s.do(func() error {
		h.shut = true
		var errs []error
		for _, proc := range s.procs {
			var sites []*breakpoint.Site
			for _, site := range proc.Space.Table.Sites() {
				for _, pl := range site.Tag.(*tag).list {
					if pl.hook == nil && pl.probe.spec.Handler == h && site.Jumps() {
						sites = append(sites, site)
						break
					}
				}
			}
			if len(sites) > 0 {
				errs = append(errs, s.downgrade(proc.Space, sites, ""), s.upgrade(proc, sites))
			}
		}
		return errors.Join(errs...)
	})
	if err == ErrEnded {
		<-s.done
		return nil
	}
	return err
}

// errJumpThere is of a write to code at a hit.
var errJumpThere = fmt.Errorf("%w: a jump of ours lies there, which can't be taken away during a hit", breakpoint.ErrUnsupported)

// writeAtHit writes a process's memory while one of its tasks is at a hit.
func writeAtHit(t *inferior.Task, addr arch.Addr, data []byte) error {
	table := t.Process.Space.Table
	if len(table.JumpsOver(addr, len(data))) > 0 {
		return errJumpThere
	}
	return table.WriteOriginal(addr, data)
}

// sites are where a probe is, by process.
func (p *probe) sites() map[*inferior.Process][]*breakpoint.Site {
	list, seen := map[*inferior.Process][]*breakpoint.Site{}, map[*breakpoint.Site]bool{}
	for _, pl := range p.places {
		if pl.site != nil && !seen[pl.site] {
			seen[pl.site] = true
			list[pl.proc] = append(list[pl.proc], pl.site)
		}
	}
	return list
}

// withoutJumps makes traps of those of a probe's sites that are jumps: the probe
// is going to be taken from them.
func (s *session) withoutJumps(all map[*inferior.Process][]*breakpoint.Site) error {
	var errs []error
	for proc, sites := range all {
		var jumps []*breakpoint.Site
		for _, site := range sites {
			if site.Jumps() {
				jumps = append(jumps, site)
			}
		}
		errs = append(errs, s.downgrade(proc.Space, jumps, ""))
	}
	return errors.Join(errs...)
}

// restoreJumps makes jumps again of those of the sites that have other probes.
func (s *session) restoreJumps(all map[*inferior.Process][]*breakpoint.Site) error {
	var errs []error
	for proc, sites := range all {
		var left []*breakpoint.Site
		for _, site := range sites {
			if proc.Space.Table.At(site.Addr) == site && len(site.Tag.(*tag).list) > 0 {
				left = append(left, site)
			}
		}
		if s.procs[proc.PID] == proc && jumping {
			errs = append(errs, s.upgrade(proc, left))
		}
	}
	return errors.Join(errs...)
}
