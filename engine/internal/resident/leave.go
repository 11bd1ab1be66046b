package resident

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/life"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/procfs"
)

// Stays has what a session leaves in its processes.
type Stays struct {
	Left bool // something has been left

	loop   *tasks.Set
	guard  *guard.Guard
	inproc *inproc.InProcess
	plant  *plant.Planter
	clean  *clean.Cleaner
	life   *life.Life

	store    *Store // of the session's process; nil: none yet
	followed bool   // children are traced, too, which resident probes can't be
}

// Below has the rooms that Stays works with.
type Below struct {
	Loop   *tasks.Set
	Guard  *guard.Guard
	InProc *inproc.InProcess
	Plant  *plant.Planter
	Clean  *clean.Cleaner
	Life   *life.Life
}

// New returns a session's Stays. follow says whether children are traced, too.
func New(b Below, follow bool) *Stays {
	return &Stays{loop: b.Loop, guard: b.Guard, inproc: b.InProc, plant: b.Plant, clean: b.Clean, life: b.Life, followed: follow}
}

// Resident probes outlive their session. Jumps and what they lead to stay in the process, which
// goes on counting and running handlers by itself, into files that are read later (reader.go). What
// needs a tracer is taken out: traps, and the guard with them.

// The errors of leaving a process with resident probes. ErrNeedsUs is in the placements that can't
// stay.
var (
	ErrOneProcess = failure.Unsupportedf("resident probes of more than one process in a session")
	ErrNeedsUs    = errors.New("needs a tracer")
	ErrNothing    = errors.New("nothing of it runs without a tracer")
)

// NewStore makes the folder for the results of a process's probes. It does nothing in a session
// that is not resident.
func (x *Stays) NewStore(pid int) error {
	if !x.inproc.Resident {
		return nil
	}
	if x.followed || x.store != nil {
		return ErrOneProcess
	}
	store, err := Create(pid)
	if errors.Is(err, fs.ErrExist) {
		err = access.Resident(pid)
	}
	if x.store = store; store != nil {
		x.inproc.NewFile = store.NewFile
	}
	return err
}

// LeaveAll lets all processes go, those that can with their jumps.
func (x *Stays) LeaveAll() error {
	var errs []error
	for len(x.loop.Procs) > 0 {
		for _, p := range x.loop.Procs {
			if x.store != nil && p.PID == x.store.PID() && p.Space.Table != nil {
				errs = append(errs, x.leave(p))
			} else {
				errs = append(errs, x.life.Release(p))
			}
			break
		}
	}
	return errors.Join(errs...)
}

// leave lets a process go with its jumps. If that fails, it lets the process go without them.
func (x *Stays) leave(p *inferior.Process) error {
	ps := x.loop.Sharing(p.Space)
	x.plant.NoteLost(p.Space, p.Space.Table.Sites())
	err := jump.ErrStuck
	if x.loop.HaltAll(ps).Stuck() == 0 {
		err = x.makeResident(p, ps)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("leave %d: %w", p.PID, err), x.life.Release(p))
	}
	for _, q := range ps {
		err = errors.Join(err, x.life.Let(q))
	}
	x.life.CheckEnd()
	return err
}

// makeResident takes out of halted processes what needs a tracer. The mark is written last: a
// tracer that finds none takes out the rest.
func (x *Stays) makeResident(p *inferior.Process, ps []*inferior.Process) error {
	space := p.Space
	if err := plant.ForgetHits(x.plant.Probes, ptrace.Now()); err != nil { // all probes count from now on
		return err
	}
	note, err := x.note(p)
	if err != nil {
		return err
	}
	if err := space.Table.Remove(x.clean.Traps(space)); err != nil {
		return err
	}
	if err := x.clean.WithoutGuard(space, ps); err != nil {
		return err
	}
	if err := x.store.Save(note); err != nil {
		return err
	}
	x.Left = true
	for _, q := range ps {
		x.plant.Left(q, q.Space.Users == 1)
	}
	return space.PutWord(inferior.PageOwner, inferior.MarkResident)
}

// note returns the note of what stays in a process. Placements that do not stay get an error.
func (x *Stays) note(p *inferior.Process) (n Note, err error) {
	n.Command, n.Planted = procfs.Comm(p.PID), time.Now().UTC()
	handlers, left := map[*inproc.Handler]int{}, 0
	for _, pr := range x.plant.Probes {
		at := Probe{Location: pr.Spec.Location, Handler: -1}
		for _, pl := range pr.Places {
			switch {
			case pl.Proc != p || pl.Err != nil || pl.Site == nil && !pl.Watched():
			case pl.Site == nil || !pl.Site.Jumps():
				pl.Err = fmt.Errorf("%w: %s", ErrNeedsUs, cmp.Or(pl.Why, jump.ErrStops.Error()))
			case !pl.Second:
				from, patch := pl.Site.Planted()
				at.Places = append(at.Places, Place{Name: pl.Name, Addr: uint64(pl.Addr), Before: pl.Hits.Load() - pl.Counter.Base, Exit: pl.Exit != nil,
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
		return n, errors.Join(ErrNothing, firstError(x.plant.Probes))
	}
	return n, nil
}

// firstError returns the error of the first placement that has one.
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

// noteOf returns the note of a handler, for programs that read its maps.
func noteOf(h *inproc.Handler) Handler {
	return Handler{Name: h.Kind, Version: h.In.Version, Params: h.Params(),
		File: h.In.Maps.(*handler.Interpreted).Set.File().Name()}
}

// EndStore removes the folder of a session that leaves nothing.
func (x *Stays) EndStore() {
	if x.store != nil && !x.Left {
		_ = x.store.Remove()
	}
}
