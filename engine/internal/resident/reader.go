package resident

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/procfs"
)

// Resident is what a session has left in a process (Session.Leave). Any process may read it at any
// time, also after the traced process has ended, until it is collected.
type Resident struct {
	PID     int // the process that it was left in
	Command string
	Planted time.Time
	pid     int // the process that was asked for: PID, or a fork of it
	Store   *Store
	Note    Note
	found   map[uint64]string // the answer of gaps before Stop
	isa     arch.ISA
	reclaim func(pid int) (found bool, err error) // takes ptracer's code out of a process
}

// Open returns what was left in a process, or in the process that has forked it. The error wraps
// ErrNone if there is nothing. reclaim takes out of a process what is ptracer's.
func Open(pid int, isa arch.ISA, reclaim func(pid int) (bool, error)) (*Resident, error) {
	store, err := Find(pid)
	if err != nil {
		return nil, err
	}
	return openResident(store, pid, isa, reclaim)
}

// openResident returns what the note of a store says.
func openResident(store *Store, pid int, isa arch.ISA, reclaim func(pid int) (bool, error)) (*Resident, error) {
	n, err := store.Load()
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return &Resident{PID: store.PID(), Command: n.Command, Planted: n.Planted, pid: pid, Store: store, Note: n, isa: isa, reclaim: reclaim}, nil
}

// All returns everything that was left and that the caller may read. With an error it is what could
// be read.
func All(isa arch.ISA, reclaim func(pid int) (bool, error)) (list []*Resident, err error) {
	stores, err := List()
	for _, store := range stores {
		r, err2 := openResident(store, store.PID(), isa, reclaim)
		if err2 != nil {
			err = errors.Join(err, err2)
			continue
		}
		list = append(list, r)
	}
	return list, err
}

// Running reports whether the process is there with the probes in it. It may have ended, or have
// executed another program.
func (r *Resident) Running() bool {
	return (r.pid != r.PID || r.Store.Alive()) && Mapped(r.pid) == r.Store.Dir()
}

// Placements returns the places of the probes with their hits so far. If the process's code may be
// read, each gap says what is missing in them.
func (r *Resident) Placements() ([]api.Placement, error) {
	return UnlessShortened(r.placements)
}

func (r *Resident) placements() (all []api.Placement, err error) {
	sets, inUse := map[string]*maps.Set{}, map[string][]int{}
	defer func() {
		for _, set := range sets {
			err = errors.Join(err, set.Close())
		}
	}()
	gaps := r.gaps()
	for i, p := range r.Note.Probes {
		for _, pl := range p.Places {
			name := filepath.Base(pl.File)
			if sets[name] == nil {
				set, err := openMaps(r.Store, name)
				if err != nil {
					return nil, err
				}
				if sets[name] = set; set.Len() == 0 {
					return nil, fmt.Errorf("%s of %s: %w", name, r.Store.Dir(), ErrNote)
				}
				inUse[name] = set.Map(0).InUse()
			}
			all = append(all, api.Placement{Probe: event.ProbeID(i + 1), PID: r.PID, Name: pl.Name, Addr: arch.Addr(pl.Addr), Exit: pl.Exit,
				Rung: rungOf(pl), Gap: gaps[pl.At], Hits: pl.Before + handler.CountIn(sets[name], pl.N, inUse[name])})
		}
	}
	return all, nil
}

func rungOf(pl Place) breakpoint.Rung {
	if pl.Pun {
		return breakpoint.Pun
	}
	return breakpoint.Jump
}

// gaps returns which hits of a place are not counted because the process's code is not what was
// left there, by the address of the patch.
func (r *Resident) gaps() map[uint64]string {
	if !r.Running() {
		return r.found
	}
	gaps := map[uint64]string{}
	mem, err := os.Open(procfs.Path(r.pid, "mem"))
	if err != nil {
		return gaps // memory that may not be read tells nothing
	}
	defer mem.Close()
	for _, p := range r.Note.Probes {
		for _, pl := range p.Places {
			now := make([]byte, len(pl.Patch))
			if _, err := mem.ReadAt(now, int64(pl.At)); err != nil || bytes.Equal(now, pl.Patch) {
				continue
			}
			if gaps[pl.At] = plant.GapLost; breakpoint.Covered(r.isa, pl.Patch, now) {
				gaps[pl.At] = plant.GapUnder
			}
		}
	}
	return gaps
}

// Uncounted returns how many hits are in no count: see Stats.Uncounted.
func (r *Resident) Uncounted() (uint64, error) { return UnlessShortened(r.uncounted) }

func (r *Resident) uncounted() (n uint64, err error) {
	seen := map[string]bool{}
	for _, p := range r.Note.Probes {
		for _, pl := range p.Places {
			name := filepath.Base(pl.File)
			if seen[name] {
				continue
			}
			seen[name] = true
			set, err := openMaps(r.Store, name)
			if err != nil {
				return n, err
			}
			n += set.Lost()
			if err := set.Close(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Locations returns the locations of the probes. Probe i+1 has Locations[i].
func (r *Resident) Locations() (list []string) {
	for _, p := range r.Note.Probes {
		list = append(list, p.Location)
	}
	return list
}

// Places returns how many places the probes have.
func (r *Resident) Places() (n int) {
	for _, p := range r.Note.Probes {
		n += len(p.Places)
	}
	return n
}

// ResidentResult is what a handler has found out so far.
type ResidentResult struct {
	Location string // the location of its probe
	Handler  string // the name of a built-in handler; "": it is none
	Result   build.Result
}

// Results returns what the handlers have found out so far.
func (r *Resident) Results() ([]ResidentResult, error) { return UnlessShortened(r.results) }

func (r *Resident) results() (list []ResidentResult, err error) {
	ctx, err := program.ContextOf(r.isa.Name())
	if err != nil {
		return nil, err
	}
	for _, p := range r.Note.Probes {
		if p.Handler < 0 {
			continue
		}
		h := r.Note.Handlers[p.Handler]
		result, err := r.read(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", cmp.Or(h.Name, "the handler"), p.Location, err)
		}
		list = append(list, ResidentResult{p.Location, h.Name, result})
	}
	return list, nil
}

// read reads a handler's maps as the handler would. The maps are closed afterwards.
func (r *Resident) read(ctx program.Context, h Handler) (result build.Result, err error) {
	set, err := openMaps(r.Store, filepath.Base(h.File))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	for _, k := range builtin.Kinds {
		if k.Name != h.Name {
			continue
		}
		made, err := k.Make(ctx, h.Params)
		if err != nil {
			return nil, err
		}
		if made.Read != nil {
			return made.Read(set)
		}
	}
	specs := make([]program.Map, set.Len())
	for i := range specs {
		specs[i] = set.Map(i).Spec()
	}
	return build.DumpOf(set, specs), nil
}

// Stop takes the probes out of the process, if it is there: its code is as it was, and nothing of
// ptracer's is left in it. The results can still be read. Signal handlers that have interrupted
// ptracer's code will return there: Stop waits for them, up to wait.
func (r *Resident) Stop(wait time.Duration) error {
	if !r.Running() {
		return nil
	}
	r.found = r.gaps()
	for end := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		_, err := r.reclaim(r.pid)
		if !errors.Is(err, clean.ErrComesBack) || time.Now().After(end) {
			return err
		}
	}
}

// Collect removes the results. It is an error if the process still runs with the probes in it,
// because they would go on writing.
func (r *Resident) Collect() error {
	if r.pid != r.PID { // the results are another process's, which may still have them
		return nil
	}
	if r.Running() {
		return fmt.Errorf("process %d: %w", r.PID, access.ErrResident)
	}
	return r.Store.Remove()
}

// ErrShortened says that a file of the results could not be read to its end.
var ErrShortened = errors.New("the file of the results has become shorter meanwhile: its owner has written to it")

// UnlessShortened runs f, which reads mapped files that their owner may shorten at any time. An
// access to a part that is gone becomes ErrShortened.
func UnlessShortened[T any](f func() (T, error)) (v T, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if _, fault := r.(interface{ Addr() uintptr }); fault {
			err = ErrShortened
		} else if r != nil {
			panic(r)
		}
	}()
	return f()
}

// openMaps opens the maps in a file of a store.
func openMaps(store *Store, name string) (*maps.Set, error) {
	f, err := store.Open(name)
	if err != nil {
		return nil, err
	}
	set, err := maps.OpenOwn(f)
	if err != nil {
		f.Close()
	}
	return set, err
}
