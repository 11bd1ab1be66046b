package arbiter

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// belongings are the things that a tracer has: processes that it sees, probes, handlers.
type belongings struct {
	mu        sync.Mutex
	groups    []*group       // in which it has, or had, processes
	active    int            // how many of these have not ended
	roots     []int          // the processes that it asked for
	view      map[int]*group // the processes that it sees: roots and their descendants
	past      map[int]sight  // the processes that it has seen, and may still ask about
	exits     map[int]engine.Exit
	probes    []*probe // by id-1
	handlers  []*openHandler
	uncounted map[*group]uint64 // hits in no count before the probes began: see Begin
	// forgotten is how many of the probes are.
	forgotten int
	ended     bool // it can hold nothing any more
}

func (b *belongings) isEnded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// in returns the groups that a tracer is, or was, in.
func (b *belongings) in() []*group {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.groups)
}

// home returns the group that takes a tracer's new processes, nil if it has none.
func (b *belongings) home() *group {
	for _, g := range b.in() {
		if !g.isEnding() {
			return g
		}
	}
	return nil
}

// processes returns the processes that the tracer sees. The lock is held.
func (b *belongings) processes() (pids []int) {
	for pid := range b.view {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}

// sees reports whether a tracer sees a process.
func (b *belongings) sees(pid int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view[pid] != nil && !b.ended
}

// seeChild shows a tracer the child of a process, if the tracer sees that process.
func (b *belongings) seeChild(g *group, parent, child int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended || b.view[parent] != g {
		return false
	}
	b.view[child] = g
	return true
}

// sawDie records a process's end. It reports whether that was the tracer's last process.
func (b *belongings) sawDie(pid int, how *event.Exit) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.view[pid] == nil {
		return false
	}
	b.unsee(pid)
	if how.Text == "" { // else the exit is not known
		b.exits[pid] = engine.Exit{Status: how.Status, Signal: how.Signal}
	}
	return len(b.view) == 0
}

// unsee removes a process from those that the tracer sees, if it is one of them. The lock is held.
func (b *belongings) unsee(pid int) {
	if g := b.view[pid]; g != nil {
		delete(b.view, pid)
		b.past[pid] = sight{g, g.programs.of(pid)}
	}
}

// saw returns the group of a process that the tracer has seen and may still ask about: the process
// has not executed another program, and if it is alive, the tracer has the right to trace it.
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

// adopt gives a probe its number. It fails if the tracer has had most probes already.
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

// probe finds one of the tracer's probes.
func (b *belongings) probe(id event.ProbeID) (*probe, []part, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id < 1 || int(id) > len(b.probes) {
		return nil, nil, fmt.Errorf("%d: %w", id, engine.ErrNoProbe)
	}
	p := b.probes[id-1]
	return p, slices.Clone(p.parts), nil
}

// partsOf returns the numbers that the sessions have given to a tracer's probes.
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

// live returns the tracer's probes that have not been unregistered.
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

// uncountedBefore is the value of a session's Stats.Uncounted when the tracer's probes began.
func (b *belongings) uncountedBefore(g *group) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.uncounted[g]
}

// keeps puts a handler on the tracer's list, unless the tracer has ended.
func (b *belongings) keeps(o *openHandler) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.handlers = append(b.handlers, o)
	}
	return !b.ended
}

// close makes the tracer hold nothing any more, and returns what it held.
func (b *belongings) close() ([]*group, []*openHandler) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	return slices.Clone(b.groups), slices.Clone(b.handlers)
}
