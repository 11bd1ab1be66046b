package life

import (
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/symbols"
)

// loaderHooks are the names of an empty function that the dynamic loader calls whenever it has
// mapped objects or is about to unmap them (r_brk of struct r_debug, <link.h>). A hook there is in
// time: it comes before the constructors of a new library run.
var loaderHooks = []string{"_dl_debug_state", "dl_debug_state"}

// Rescan reads what a process has mapped now. Probes are planted in new objects, and forgotten in
// objects that have gone.
func (x *Life) Rescan(p *inferior.Process) {
	now, err := p.Look(&x.objects.Cache)
	if err != nil {
		if !inferior.IsEnded(err) {
			x.loop.Warn(p, "what is loaded now is not known: %v", err)
		}
		return
	}
	for key, m := range p.Modules {
		if now.Modules[key] == nil {
			x.unloaded(p, m)
		}
	}
	p.Modules = now.Modules
	for _, m := range now.Fresh {
		x.loaded(p, m)
	}
	x.plant.NoteUnread(p, now.Unread, now.Over)
	if len(now.Fresh) == 0 {
		return
	}
	if err := x.plant.JumpAgain(p); err != nil { // once for all objects, because it may take a pause
		x.loop.Warn(p, "jumps in what it has loaded: %v", err)
	}
}

// loaded serves an object that a process has mapped.
func (x *Life) loaded(p *inferior.Process, m *symbols.Module) {
	if !m.Main {
		x.lifeEvent(p, p.PID, p.PID, &event.Library{Path: m.Path, Addr: m.Start})
	}
	if x.o.Tell || len(x.plant.Probes) > 0 {
		x.HookLoader(p) // only with a probe or a client that asks: an attach alone changes nothing
		x.HookGoTracer(p)
	}
	if p.Space.Guard.Installed {
		if err := x.hookCallsIn(p, m); err != nil && !ptrace.IsGone(err) {
			x.loop.Warn(p, "%s: %v", m.Path, err)
		}
	}
	for _, pr := range x.plant.Probes {
		if pr.Loc.HasAddress && pr.Loc.Binary == "" && !m.Main {
			continue // it is planted with the main program
		}
		if err := x.plant.Plant(pr, p, []*symbols.Module{m}); err != nil && len(pr.Places) == 0 && !pr.Spec.Pending {
			continue // Register tells it when all libraries are there
		}
	}
}

// unloaded serves an object that a process has unmapped.
func (x *Life) unloaded(p *inferior.Process, m *symbols.Module) {
	x.objects.RememberModule(p.PID, m)
	for _, site := range p.Space.Table.Unmapped(m.Start, m.End) {
		for _, pl := range probe.Of(site).List {
			pl.Site, pl.Over = nil, true
		}
	}
	x.lifeEvent(p, p.PID, p.PID, &event.Unload{Path: m.Path, Addr: m.Start})
}

// HookLoader plants the hook in a process's dynamic loader, once.
func (x *Life) HookLoader(p *inferior.Process) {
	for _, m := range p.Modules {
		if m.Main || !m.Loader {
			continue
		}
		for _, name := range loaderHooks {
			fns, err := m.File.Lookup(name)
			if err != nil || len(fns) == 0 {
				continue
			}
			if p.Space.Table.At(m.Bias+fns[0].Addr) != nil && x.hook.Hooked(p, m.Bias+fns[0].Addr) {
				return
			}
			sp := probe.At(m.Bias+fns[0].Addr, inferior.Bytes(x.isa, m, fns[0].Addr), m.Base()+":"+name)
			if err := x.hook.Hook(p, []probe.Target{sp}, x.onLoader); err != nil && !ptrace.IsGone(err) && !remote.Forbids(err) {
				// A process that has forbidden itself system calls hardly loads libraries; its
				// probes say so.
				x.loop.Warn(p, "libraries loaded later will not be seen: %v", err)
			}
			return
		}
	}
}

// onLoader is the hook in the loader. The process's objects are read anew while the thread that has
// changed them stands.
func (x *Life) onLoader(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	t.SetPC(site.Resume)
	if err := x.loop.Halt(t); err != nil {
		return true, err
	}
	x.plant.Beginning = true
	x.Rescan(t.Process)
	x.plant.Beginning = false
	return true, x.loop.Unhalt(t)
}
