package arbiter

import (
	"sync"
)

// A tracer's results can be read after it has detached: for example the names of the addresses in
// its stacks. Meanwhile other tracers may keep the process, which may execute a program that this
// tracer has no right to see.

// sight is what a tracer has seen of a process: the number of the last program that it saw.
type sight struct {
	g       *group
	program int
}

// programs counts the programs that each process of a group has executed. Its lock is the last one
// taken.
type programs struct {
	mu sync.Mutex
	n  map[int]int
}

// next is called when a process has executed another program, or is new.
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
