package arbiter

import (
	"errors"
	"sync"

	"github.com/ptracer/ptracer/engine"
)

// What a tracer has found out is asked about when it has let go: the names of the
// addresses in its stacks. Others may go on with the process, and it may execute
// what this tracer has no right to see.

// sight is what a tracer has seen of a process: its program of that time, the last.
type sight struct {
	g       *group
	program int
}

// programs counts the programs that processes of a group have begun to be. Its lock
// is the last one taken.
type programs struct {
	mu sync.Mutex
	n  map[int]int
}

// next is for a process that is another program now, or is new.
func (p *programs) next(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == nil {
		p.n = map[int]int{}
	}
	p.n[pid]++
}

func (p *programs) of(pid int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n[pid]
}

// unsee takes a process from those that the tracer sees, if it is one. The lock is
// held.
func (t *Tracer) unsee(pid int) {
	if g := t.view[pid]; g != nil {
		delete(t.view, pid)
		t.past[pid] = sight{g, g.programs.of(pid)}
	}
}

// saw is the group of a process that the tracer has seen, and may still ask about:
// it is the program that it was, and if it lives the tracer has the right to trace
// it.
func (t *Tracer) saw(pid int) *group {
	t.mu.Lock()
	was, ok := t.past[pid]
	_, died := t.exits[pid]
	seen := t.view[pid] != nil
	t.mu.Unlock()
	if !ok || seen || was.g.programs.of(pid) != was.program {
		return nil
	}
	if !died {
		if err := t.allowed(pid); err != nil && !errors.Is(err, engine.ErrGone) {
			return nil
		}
	}
	return was.g
}
