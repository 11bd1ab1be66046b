package engine

import (
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/aside"
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/find"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/hit"
	"github.com/ptracer/ptracer/engine/internal/hook"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/life"
	"github.com/ptracer/ptracer/engine/internal/objects"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/engine/internal/resident"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
	"github.com/ptracer/ptracer/engine/internal/watch"
	"github.com/ptracer/ptracer/engine/internal/xol"
)

// wire makes a session's rooms from the bottom up. Each room is given the rooms that it works with. A
// room asks what is above it by a function: tasks by Decider, jump by refused (plant.Refused), hook
// by onGuard (life.HookCalls), life by its Options (aside and resident). aside cleans a process by
// Clean, which opens a session of its own.
func (s *session) wire() {
	s.Queue = event.NewQueue(s.opts.Buffer)
	s.Clock = ptrace.Now
	s.loop = tasks.New(decider{s})
	s.remote = remote.New(s.loop, s.isa)
	s.guard = guard.New(s.loop, s.remote)
	s.xol = xol.New(s.loop, s.guard, s.isa)
	s.objects = objects.New(s.loop)
	s.inproc = inproc.New(s.loop, s.remote, s.isa)
	s.inproc.Resident = s.opts.Resident
	s.wireProbes()
	s.clean = clean.New(clean.Below{Objects: s.objects, Loop: s.loop, Remote: s.remote, Guard: s.guard, XOL: s.xol,
		InProc: s.inproc, Watch: s.watch, Plant: s.plant, ISA: s.isa})
	s.life = life.New(life.Below{Queue: s.Queue, Objects: s.objects, Clean: s.clean, Loop: s.loop, Remote: s.remote,
		Guard: s.guard, InProc: s.inproc, Jump: s.jump, Watch: s.watch, Hook: s.hook, Plant: s.plant,
		Hit: s.hit, ISA: s.isa}, life.Options{Follow: s.opts.Follow, Tell: s.opts.Life,
		OnPtrace: func(t *inferior.Task, site *breakpoint.Site) (bool, error) { return s.aside.OnPtrace(t, site) },
		OnClone:  func(t *inferior.Task, site *breakpoint.Site) (bool, error) { return s.aside.OnClone(t, site) },
		Attached: func(pid int) error { return s.resident.NewStore(pid) }})
	s.aside = aside.New(aside.Below{Queue: s.Queue, Loop: s.loop, Guard: s.guard, InProc: s.inproc, Jump: s.jump, Hook: s.hook,
		Plant: s.plant, Clean: s.clean, Life: s.life, ISA: s.isa}, s.done, Clean)
	s.resident = resident.New(resident.Below{Loop: s.loop, Guard: s.guard, InProc: s.inproc, Plant: s.plant,
		Clean: s.clean, Life: s.life}, s.opts.Follow)
}

// wireProbes makes the rooms that plant probes, and the one that serves their hits.
func (s *session) wireProbes() {
	found := find.New(s.isa)
	s.watch = watch.New(s.loop, s.guard)
	s.uprobe = uprobe.New(s.watch)
	s.jump = jump.New(s.loop, s.remote, s.xol, s.inproc, s.isa, func(p *inferior.Process, site *breakpoint.Site, why error) error {
		return s.plant.Refused(p, site, why)
	})
	s.hook = hook.New(s.loop, s.remote, s.guard, s.inproc, s.jump, s.isa, func(p *inferior.Process) error { return s.life.HookCalls(p) })
	s.plant = plant.New(plant.Below{Loop: s.loop, Remote: s.remote, Guard: s.guard, XOL: s.xol, InProc: s.inproc,
		Jump: s.jump, Hook: s.hook, Find: found, Watch: s.watch, Uprobe: s.uprobe, ISA: s.isa}, s.opts.Allow)
	s.hit = hit.New(hit.Below{Queue: s.Queue, Loop: s.loop, Guard: s.guard, XOL: s.xol, Jump: s.jump, Find: found,
		Watch: s.watch, ISA: s.isa}, s.opts.Signals)
}
