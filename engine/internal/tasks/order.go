package tasks

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// crowd is how many tasks a process has for whose order it is worth while to look which of them run.
const crowd = 32

// Order is the order in which the tasks of a process are halted and let go. Those that run are
// halted last and let go first: they stand for as long as it takes to look at all tasks. The others
// sleep, and are halted and let go in one order: what one that is woken meanwhile waits is half of
// the pause at most.
type Order struct {
	running map[int]bool // tasks that ran when the last halt of many began
	began   int64        // when the last halt began, behind the look
}

// look notes which tasks of ps run.
func (o *Order) look(ps []*inferior.Process) {
	o.running = nil
	for _, p := range ps {
		if len(p.Tasks) < crowd {
			continue
		}
		if o.running == nil {
			o.running = map[int]bool{}
		}
		maps.Copy(o.running, procfs.Running(p.PID, slices.Collect(maps.Keys(p.Tasks))))
	}
	o.began = ptrace.Now()
}

// toHalt are a process's tasks in the order in which they are halted.
func (o *Order) toHalt(p *inferior.Process) []*inferior.Task { return o.of(p, false) }

// ToLetGo are a process's tasks in the order in which they are let go.
func (o *Order) ToLetGo(p *inferior.Process) []*inferior.Task { return o.of(p, true) }

// of are a process's tasks by their numbers: those that run first, or last.
func (o *Order) of(p *inferior.Process, runningFirst bool) []*inferior.Task {
	return slices.SortedFunc(maps.Values(p.Tasks), func(a, b *inferior.Task) int {
		if ra, rb := o.running[a.TID], o.running[b.TID]; ra != rb {
			if ra == runningFirst {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.TID, b.TID)
	})
}
