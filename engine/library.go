package engine

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
)

// The dynamic loader calls an empty function whenever it has mapped or is
// about to unmap objects (r_brk of struct r_debug, <link.h>). A site of our own
// there tells us in time: before the constructors of a new library run.
var loaderHooks = []string{"_dl_debug_state", "dl_debug_state"}

// rescan reads what a process has mapped now; probes are planted in objects
// that are new and forgotten in those that have gone.
func (s *session) rescan(p *inferior.Process) {
	now, fresh, ok := s.readModules(p)
	if !ok {
		return
	}
	for key, m := range p.Modules {
		if now[key] == nil {
			s.unloaded(p, m)
		}
	}
	p.Modules = now
	for _, m := range fresh {
		s.loaded(p, m)
	}
	if len(fresh) == 0 {
		return
	}
	if err := s.plant.JumpAgain(p); err != nil { // once for all of them: it may take a pause
		s.warn(p, "jumps in what it has loaded: %v", err)
	}
}

// readModules reads the objects that a process has, and which of them are new.
func (s *session) readModules(p *inferior.Process) (now map[string]*symbols.Module, fresh []*symbols.Module, ok bool) {
	maps, err := procfs.Maps(p.PID)
	if err != nil {
		return nil, nil, false
	}
	mods, err := s.cache.Modules(p.PID, maps)
	if err != nil && len(mods) == 0 {
		s.warn(p, "read objects of %d: %v", p.PID, err)
	}
	now = map[string]*symbols.Module{}
	for i := range mods {
		m := &mods[i]
		key := fmt.Sprintf("%x-%s", m.Start, m.Path)
		if old := p.Modules[key]; old != nil {
			m = old
		} else {
			fresh = append(fresh, m)
		}
		now[key] = m
	}
	return now, fresh, true
}

func (s *session) loaded(p *inferior.Process, m *symbols.Module) {
	if !m.Main {
		s.lifeEvent(&event.Event{Kind: event.Library, PID: p.PID, TID: p.PID, Path: m.Path, Addr: m.Start}, p)
	}
	if s.tells || len(s.plant.Probes) > 0 {
		s.hookLoader(p) // not before somebody asks: an attach alone changes nothing
		s.hookGoTracer(p)
	}
	if p.Space.Guard.Installed {
		if err := s.hookCallsIn(p, m); err != nil && !ptrace.IsGone(err) {
			s.warn(p, "%s: %v", m.Path, err)
		}
	}
	for _, pr := range s.plant.Probes {
		if pr.Loc.HasAddress && pr.Loc.Binary == "" && !m.Main {
			continue // planted with the main program
		}
		if err := s.plant.Plant(pr, p, []*symbols.Module{m}); err != nil && len(pr.Places) == 0 && !pr.Spec.Pending {
			continue // told once all libraries are there
		}
	}
}

func (s *session) unloaded(p *inferior.Process, m *symbols.Module) {
	s.rememberModule(p.PID, m)
	for _, site := range p.Space.Table.Unmapped(m.Start, m.End) {
		for _, pl := range probe.Of(site).List {
			pl.Site, pl.Over = nil, true
		}
	}
	s.lifeEvent(&event.Event{Kind: event.Unload, PID: p.PID, TID: p.PID, Path: m.Path, Addr: m.Start}, p)
}

// hookLoader plants our own site in the process's dynamic loader, once.
func (s *session) hookLoader(p *inferior.Process) {
	for _, m := range p.Modules {
		if m.Main || !m.Loader {
			continue
		}
		for _, name := range loaderHooks {
			fns, err := m.File.Lookup(name)
			if err != nil || len(fns) == 0 {
				continue
			}
			if p.Space.Table.At(m.Bias+fns[0].Addr) != nil && s.hook.Hooked(p, m.Bias+fns[0].Addr) {
				return
			}
			sp := probe.At(m.Bias+fns[0].Addr, inferior.Bytes(s.isa, m, fns[0].Addr), m.Base()+":"+name)
			if err := s.hook.Hook(p, []probe.Target{sp}, s.onLoader); err != nil && !ptrace.IsGone(err) && !remote.Forbids(err) {
				// Who may not be had to map memory hardly loads libraries; his probes say so.
				s.warn(p, "libraries loaded later will not be seen: %v", err)
			}
			return
		}
	}
}

// onLoader looks at a process's objects anew while the thread that changed
// them stands.
func (s *session) onLoader(t *inferior.Task, site *breakpoint.Site) (moved bool, err error) {
	t.SetPC(site.Resume)
	if err := s.loop.Halt(t); err != nil {
		return true, err
	}
	s.plant.Beginning = true
	s.rescan(t.Process)
	s.plant.Beginning = false
	return true, s.loop.Unhalt(t)
}
