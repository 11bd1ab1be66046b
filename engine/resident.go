package engine

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/procfs"
)

// Resident probes outlive their session: jumps and what they lead to stay in the
// process, which counts and runs handlers by itself, into files that are read
// later (recollect.go). What needs a tracer goes: traps, and the guard with them.

// Errors about resident probes.
var (
	ErrResident    = errors.New("there are resident probes in it") // which keep it from being attached to
	ErrNotResident = resident.ErrNone                              // there are none

	errOneProcess = failure.Unsupportedf("resident probes of more than one process in a session")
	errNeedsUs    = errors.New("needs a tracer")
	errNothing    = errors.New("nothing of it runs without a tracer")
)

// Marks in the guard's page (inferior.PageOwner) that say why what is there stays.
const (
	residentMagic = 0x746e656469736572 // "resident"
	asideMagic    = 0x6564697361206f67 // "go aside": a session's, which is to come back
)

// newStore makes the folder for what a process's probes find out.
func (s *session) newStore(pid int) error {
	if !s.opts.Resident {
		return nil
	}
	if s.opts.Follow || s.store != nil {
		return errOneProcess
	}
	store, err := resident.Create(pid)
	if errors.Is(err, fs.ErrExist) {
		err = residentError(pid)
	}
	s.store = store
	return err
}

// residentError says what to do about resident probes.
func residentError(pid int) error {
	return &AttachError{PID: pid, Reason: ErrResident,
		Help: fmt.Sprintf("'ptracer read %d' tells what they have found out, 'ptracer stop %d' takes them out", pid, pid)}
}

// newFile makes the files that maps lie in; nil: they lie in memory.
func (s *session) newFile() func() (*os.File, error) {
	if s.store == nil {
		return nil
	}
	return s.store.NewFile
}

// Leave implements Session.
func (s *session) Leave() error {
	if !s.opts.Resident {
		return errors.Join(&failure.Unsupported{What: "to leave probes in a process", Needs: "Options.Resident"}, s.Detach())
	}
	err := s.loop.Do(func() error {
		err := s.leaveAll()
		if s.loop.Ending = true; err == nil && !s.left {
			err = ErrGone // it has ended meanwhile
		}
		return err
	})
	<-s.done
	return err
}

func (s *session) leaveAll() error {
	var errs []error
	for len(s.loop.Procs) > 0 {
		for _, p := range s.loop.Procs {
			if s.store != nil && p.PID == s.store.PID() && p.Space.Table != nil {
				errs = append(errs, s.leave(p))
			} else {
				errs = append(errs, s.release(p))
			}
			break
		}
	}
	return errors.Join(errs...)
}

// leave lets a process go with its jumps; without them if that is not to be.
func (s *session) leave(p *inferior.Process) error {
	ps := s.loop.Sharing(p.Space)
	s.noteLost(p.Space, p.Space.Table.Sites())
	err := errStuck
	if s.loop.HaltAll(ps).Stuck() == 0 {
		err = s.makeResident(p, ps)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("leave %d: %w", p.PID, err), s.release(p))
	}
	for _, q := range ps {
		err = errors.Join(err, s.let(q))
	}
	s.checkEnd()
	return err
}

// makeResident takes away from halted processes what needs a tracer. The mark is
// the last thing: who finds none takes away the rest.
func (s *session) makeResident(p *inferior.Process, ps []*inferior.Process) error {
	space := p.Space
	if err := forgetHits(s.probes, now()); err != nil { // all count from now on
		return err
	}
	note, err := s.note(p)
	if err != nil {
		return err
	}
	if err := space.Table.Remove(s.traps(space)); err != nil {
		return err
	}
	if err := s.withoutGuard(space, ps); err != nil {
		return err
	}
	if err := s.store.Save(note); err != nil {
		return err
	}
	s.left = true
	for _, q := range ps {
		s.dropPlacements(q)
	}
	return s.mark(space, residentMagic)
}

// withoutGuard leaves halted tasks, and the signal handlers of their processes,
// as they are without a tracer.
func (s *session) withoutGuard(space *inferior.Space, ps []*inferior.Process) error {
	space.Skips, space.Guard.Watches = nil, false
	if err := s.guard.Swallow(space, false); err != nil {
		return err
	}
	for _, q := range ps {
		for _, t := range q.Tasks {
			if err := s.leaveHere(t); err != nil && !ptrace.IsGone(err) {
				return err
			}
		}
	}
	if err := s.nameOther(space); err != nil {
		return err
	}
	for _, q := range ps {
		for _, t := range q.Tasks {
			if err := s.guard.Remove(t); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// mark says in the guard's page whose what stays in a space is.
func (s *session) mark(space *inferior.Space, magic uint64) error {
	return space.PutWord(inferior.PageOwner, magic)
}

// traps are a space's sites that are no jumps.
func (s *session) traps(space *inferior.Space) (list []*breakpoint.Site) {
	for _, site := range space.Table.Sites() {
		if !site.Jumps() {
			list = append(list, site)
		}
	}
	return list
}

// note says what stays in a process. Placements that don't get an error.
func (s *session) note(p *inferior.Process) (n resident.Note, err error) {
	n.Command, n.Planted = procfs.Comm(p.PID), time.Now().UTC()
	handlers, left := map[*opened]int{}, 0
	for _, pr := range s.probes {
		at := resident.Probe{Location: pr.spec.Location, Handler: -1}
		for _, pl := range pr.places {
			switch {
			case pl.proc != p || pl.err != nil || pl.site == nil && !pl.watched():
			case pl.site == nil || !pl.site.Jumps():
				pl.err = fmt.Errorf("%w: %s", errNeedsUs, cmp.Or(pl.why, errStops.Error()))
			case !pl.second:
				from, patch := pl.site.Planted()
				at.Places = append(at.Places, resident.Place{Name: pl.name, Addr: uint64(pl.addr), Before: pl.hits.Load() - pl.counter.base, Exit: pl.exit != nil,
					File: pl.counter.in.of.Set().File().Name(), N: pl.counter.in.n, At: uint64(from), Patch: patch, Pun: pl.site.Rung == breakpoint.Pun})
			}
		}
		if h := pr.handler; h != nil && len(at.Places) > 0 {
			if _, ok := handlers[h]; !ok {
				handlers[h] = len(n.Handlers)
				n.Handlers = append(n.Handlers, h.note())
			}
			at.Handler = handlers[h]
		}
		left += len(at.Places)
		n.Probes = append(n.Probes, at)
	}
	if left == 0 {
		return n, errors.Join(errNothing, firstError(s.probes))
	}
	return n, nil
}

// firstError is that of the first place that has one.
func firstError(probes []*probe) error {
	for _, p := range probes {
		for _, pl := range p.places {
			if pl.err != nil {
				return fmt.Errorf("%s: %w", pl.name, pl.err)
			}
		}
	}
	return nil
}

// watched is whether the processor's debug registers serve a placement.
func (pl *placement) watched() bool { return pl.rung == breakpoint.Hardware }

// note says what a handler is, for whoever reads its maps.
func (h *opened) note() resident.Handler {
	return resident.Handler{Name: h.kind, Version: h.in.Version, Params: h.params,
		File: h.in.Maps.(*handler.Interpreted).Set.File().Name()}
}

// markOf is the mark of what was found in a space, 0 if it was not left on
// purpose.
func (s *session) markOf(space *inferior.Space) uint64 {
	if mark, ok := space.Word(inferior.PageOwner); ok && (mark == residentMagic || mark == asideMagic) {
		return mark
	}
	return 0
}

// endStore removes the folder of a session that leaves nothing.
func (s *session) endStore() {
	if s.store != nil && !s.left {
		_ = s.store.Remove()
	}
}
