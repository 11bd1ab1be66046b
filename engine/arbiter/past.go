package arbiter

import (
	"sync"
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
