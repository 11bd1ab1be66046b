package arbiter

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// belongings are what a tracer has: processes that it sees, probes, handlers.
type belongings struct {
	mu        sync.Mutex
	groups    []*group       // in which it has, or had, processes
	active    int            // how many of these are not over
	roots     []int          // the processes it asked for
	view      map[int]*group // those it sees: roots, and what descends from them
	past      map[int]sight  // those it has seen, and may ask about what it saw
	exits     map[int]engine.Exit
	probes    []*probe // by id-1
	handlers  []*openHandler
	uncounted map[*group]uint64 // hits in no count before the probes began: see Begin
	// forgotten is how many of the probes are.
	forgotten int
	ended     bool // it may hold nothing any more
}

func (b *belongings) isEnded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// in are the groups that a tracer is, or was, in.
func (b *belongings) in() []*group {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.groups)
}

// home is the group that takes new processes of a tracer's, nil if it has none.
func (b *belongings) home() *group {
	for _, g := range b.in() {
		if !g.isEnding() {
			return g
		}
	}
	return nil
}

// processes are those that the tracer sees. The lock is held.
func (b *belongings) processes() (pids []int) {
	for pid := range b.view {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}

// sees is whether a tracer sees a process.
func (b *belongings) sees(pid int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view[pid] != nil && !b.ended
}

// seeChild shows a tracer the child of a process, if he sees that.
func (b *belongings) seeChild(g *group, parent, child int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended || b.view[parent] != g {
		return false
	}
	b.view[child] = g
	return true
}

// sawDie notes a process's end; it is true if that was the tracer's last.
func (b *belongings) sawDie(e *event.Event) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.view[e.PID] == nil {
		return false
	}
	b.unsee(e.PID)
	if e.Text == "" { // else it is not known
		b.exits[e.PID] = engine.Exit{Status: e.Status, Signal: e.Signal}
	}
	return len(b.view) == 0
}

// unsee takes a process from those that the tracer sees, if it is one. The lock is
// held.
func (b *belongings) unsee(pid int) {
	if g := b.view[pid]; g != nil {
		delete(b.view, pid)
		b.past[pid] = sight{g, g.programs.of(pid)}
	}
}

// saw is the group of a process that the tracer has seen, and may still ask about:
// it is the program that it was, and if it lives the tracer has the right to trace
// it.
func (b *belongings) saw(pid int, allowed func(pid int) error) *group {
	b.mu.Lock()
	was, ok := b.past[pid]
	_, died := b.exits[pid]
	seen := b.view[pid] != nil
	b.mu.Unlock()
	if !ok || seen || was.g.programs.of(pid) != was.program {
		return nil
	}
	if !died {
		if err := allowed(pid); err != nil && !errors.Is(err, engine.ErrGone) {
			return nil
		}
	}
	return was.g
}

// adopt gives a probe its number.
func (b *belongings) adopt(p *probe, most int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.probes)-b.forgotten >= most {
		return fmt.Errorf("%w: %d probes in all", ErrQuota, most)
	}
	if b.ended {
		return engine.ErrEnded
	}
	b.probes = append(b.probes, p)
	p.id = event.ProbeID(len(b.probes))
	return nil
}

// probe finds one of the tracer's.
func (b *belongings) probe(id event.ProbeID) (*probe, []part, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id < 1 || int(id) > len(b.probes) {
		return nil, nil, fmt.Errorf("%d: %w", id, engine.ErrNoProbe)
	}
	p := b.probes[id-1]
	return p, slices.Clone(p.parts), nil
}

// partsOf are the sessions' own numbers of a tracer's probes.
func (b *belongings) partsOf(ids []event.ProbeID) (map[*group][]event.ProbeID, error) {
	all := map[*group][]event.ProbeID{}
	for _, id := range ids {
		_, parts, err := b.probe(id)
		if err != nil {
			return nil, err
		}
		for _, x := range parts {
			if !x.out {
				all[x.g] = append(all[x.g], x.id)
			}
		}
	}
	return all, nil
}

// live are the tracer's probes that are not gone.
func (b *belongings) live() (list []*probe) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.probes {
		if !p.gone {
			list = append(list, p)
		}
	}
	return list
}

// uncountedBefore is what Stats.Uncounted of a session was when the tracer's probes began.
func (b *belongings) uncountedBefore(g *group) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.uncounted[g]
}

// keeps puts a handler on the tracer's list, unless that has ended.
func (b *belongings) keeps(o *openHandler) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.handlers = append(b.handlers, o)
	}
	return !b.ended
}

// close has a tracer hold nothing any more from now on.
func (b *belongings) close() ([]*group, []*openHandler) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	return slices.Clone(b.groups), slices.Clone(b.handlers)
}
