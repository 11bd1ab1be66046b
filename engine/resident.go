package engine

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/plant"

	"github.com/ptracer/ptracer/engine/internal/jump"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/engine/internal/inproc"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/procfs"
)

// Resident probes outlive their session: jumps and what they lead to stay in the
// process, which counts and runs handlers by itself, into files that are read
// later (recollect.go). What needs a tracer goes: traps, and the guard with them.

var (
	errOneProcess = fmt.Errorf("%w: resident probes of more than one process in a session", breakpoint.ErrUnsupported)
	errNeedsUs    = errors.New("needs a tracer")
	errNothing    = errors.New("nothing of it runs without a tracer")
)

// newStore makes the folder for what a process's probes find out.
func (s *session) newStore(pid int) error {
	if !s.inproc.Resident {
		return nil
	}
	if s.followed || s.store != nil {
		return errOneProcess
	}
	store, err := resident.Create(pid)
	if errors.Is(err, fs.ErrExist) {
		err = access.Resident(pid)
	}
	if s.store = store; store != nil {
		s.inproc.NewFile = store.NewFile
	}
	return err
}

func (s *session) leaveAll() error {
	var errs []error
	for len(s.loop.Procs) > 0 {
		for _, p := range s.loop.Procs {
			if s.store != nil && p.PID == s.store.PID() && p.Space.Table != nil {
				errs = append(errs, s.leave(p))
			} else {
				errs = append(errs, s.life.Release(p))
			}
			break
		}
	}
	return errors.Join(errs...)
}

// leave lets a process go with its jumps; without them if that is not to be.
func (s *session) leave(p *inferior.Process) error {
	ps := s.loop.Sharing(p.Space)
	s.plant.NoteLost(p.Space, p.Space.Table.Sites())
	err := jump.ErrStuck
	if s.loop.HaltAll(ps).Stuck() == 0 {
		err = s.makeResident(p, ps)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("leave %d: %w", p.PID, err), s.life.Release(p))
	}
	for _, q := range ps {
		err = errors.Join(err, s.life.Let(q))
	}
	s.life.CheckEnd()
	return err
}

// makeResident takes away from halted processes what needs a tracer. The mark is
// the last thing: who finds none takes away the rest.
func (s *session) makeResident(p *inferior.Process, ps []*inferior.Process) error {
	space := p.Space
	if err := plant.ForgetHits(s.plant.Probes, now()); err != nil { // all count from now on
		return err
	}
	note, err := s.note(p)
	if err != nil {
		return err
	}
	if err := space.Table.Remove(s.clean.Traps(space)); err != nil {
		return err
	}
	if err := s.clean.WithoutGuard(space, ps); err != nil {
		return err
	}
	if err := s.store.Save(note); err != nil {
		return err
	}
	s.left = true
	for _, q := range ps {
		s.plant.DropPlacements(q, s.life.Lent[q.PID])
	}
	return space.PutWord(inferior.PageOwner, inferior.MarkResident)
}

// note says what stays in a process. Placements that don't get an error.
func (s *session) note(p *inferior.Process) (n resident.Note, err error) {
	n.Command, n.Planted = procfs.Comm(p.PID), time.Now().UTC()
	handlers, left := map[*inproc.Handler]int{}, 0
	for _, pr := range s.plant.Probes {
		at := resident.Probe{Location: pr.Spec.Location, Handler: -1}
		for _, pl := range pr.Places {
			switch {
			case pl.Proc != p || pl.Err != nil || pl.Site == nil && !pl.Watched():
			case pl.Site == nil || !pl.Site.Jumps():
				pl.Err = fmt.Errorf("%w: %s", errNeedsUs, cmp.Or(pl.Why, jump.ErrStops.Error()))
			case !pl.Second:
				from, patch := pl.Site.Planted()
				at.Places = append(at.Places, resident.Place{Name: pl.Name, Addr: uint64(pl.Addr), Before: pl.Hits.Load() - pl.Counter.Base, Exit: pl.Exit != nil,
					File: pl.Counter.In.Of.Set().File().Name(), N: pl.Counter.In.N, At: uint64(from), Patch: patch, Pun: pl.Site.Rung == breakpoint.Pun})
			}
		}
		if h := pr.Handler; h != nil && len(at.Places) > 0 {
			if _, ok := handlers[h]; !ok {
				handlers[h] = len(n.Handlers)
				n.Handlers = append(n.Handlers, noteOf(h))
			}
			at.Handler = handlers[h]
		}
		left += len(at.Places)
		n.Probes = append(n.Probes, at)
	}
	if left == 0 {
		return n, errors.Join(errNothing, firstError(s.plant.Probes))
	}
	return n, nil
}

// firstError is that of the first place that has one.
func firstError(probes []*probe.Probe) error {
	for _, p := range probes {
		for _, pl := range p.Places {
			if pl.Err != nil {
				return fmt.Errorf("%s: %w", pl.Name, pl.Err)
			}
		}
	}
	return nil
}

// noteOf says what a handler is, for whoever reads its maps.
func noteOf(h *inproc.Handler) resident.Handler {
	return resident.Handler{Name: h.Kind, Version: h.In.Version, Params: h.Params(),
		File: h.In.Maps.(*handler.Interpreted).Set.File().Name()}
}

// endStore removes the folder of a session that leaves nothing.
func (s *session) endStore() {
	if s.store != nil && !s.left {
		_ = s.store.Remove()
	}
}
