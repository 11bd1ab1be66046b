package aside

import (
	"errors"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// A debugger's child runs in the debugger's memory until it executes its program (vfork), and asks
// there to be traced by the debugger. If it met a trap of ptracer's, it would wait for the
// debugger, which waits for it. So the traps are taken out of that memory until the child has left it.

// suspended are the traps that are out of a process's memory while its child runs in there.
type suspended struct {
	of     *inferior.Process
	space  *inferior.Space
	image  string // the child's program until it executes its own (procfs.Image)
	places []*probe.Placement
}

// suspendTraps takes the traps out of the memory that a child shares with its parent.
func (x *Aside) suspendTraps(a *away, child *inferior.Process) error {
	space := child.Space
	l := &suspended{of: child.VFork, space: space, image: procfs.Image(child.PID)}
	sites := x.clean.Traps(space)
	for _, site := range sites {
		l.places = append(l.places, probe.Of(site).List...)
	}
	a.suspended = l
	return space.Table.Remove(sites)
}

// OnVForkDone decides the stop at which a child has left its parent's memory, before the parent
// goes on: the parent's next children have what the parent has.
func (x *Aside) OnVForkDone(t *inferior.Task) error {
	t.VForks = false
	child, err := ptrace.EventMessage(t.TID, ptrace.VForkDone)
	if a := x.away[child]; a != nil && err == nil {
		err = x.restoreTraps(a)
	}
	err = errors.Join(err, x.inproc.NoteThread(t)) // its thread pointer is its own again
	err = errors.Join(err, x.inproc.NoteOwner(t.Process.Space, child))
	return errors.Join(err, x.loop.Resume(t, 0))
}

// restoreTraps puts suspended traps back where probes still want them.
func (x *Aside) restoreTraps(a *away) error {
	l := a.suspended
	a.suspended = nil
	if l == nil || x.loop.Procs[l.of.PID] != l.of || l.of.Space != l.space {
		return nil
	}
	var wants []breakpoint.Want
	var places []*probe.Placement
	for _, pl := range l.places {
		if pl.Hook == nil && (pl.Probe.Gone || pl.Site == nil) {
			continue
		}
		want := breakpoint.Want{Addr: pl.Addr}
		if m := l.of.ModuleAt(pl.Addr); m != nil {
			want.Orig = inferior.Bytes(x.isa, m, pl.Addr-m.Bias)
		}
		if pl.Hook == nil {
			want.Rung = pl.Probe.Spec.Rung
		}
		wants, places = append(wants, want), append(places, pl)
	}
	sites, errs := x.hook.Insert(l.of, wants)
	for i, pl := range places {
		if pl.Site, pl.Err = sites[i], errs[i]; pl.Site != nil {
			probe.Of(pl.Site).Add(pl)
		}
	}
	if err := errors.Join(errs...); err != nil {
		x.loop.Warn(l.of, "probes that were suspended for a child: %v", err)
	}
	return nil
}
