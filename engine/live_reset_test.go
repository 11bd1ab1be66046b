package engine

import (
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// TestHandlerReset has the guard's handler taken by the kernel, as for a trap that a task
// meets with SIGTRAP blocked, and not put back before the detach: the program has its own
// again.
func TestHandlerReset(t *testing.T) {
	p := launch(t, "gowork", "1", "1000000000")
	caught := field(p.pid, "SigCgt")
	s := attach(t, p.pid)
	register(t, s, ProbeSpec{Location: "main.deep", Rung: breakpoint.Slot})
	s.(*session).look(func() {
		ps := []*inferior.Process{s.(*session).loop.Procs[p.pid]}
		err := s.(*session).remote.WithTask(ps, func(task *inferior.Task) error {
			reset := task.Process.Space.Guard.Ours
			reset.Handler = ptrace.SigDfl
			_, err := s.(*session).guard.Sigaction(task, &reset)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	if field(p.pid, "SigCgt") == caught {
		t.Error("the handler is still there")
	}
	detach(t, s)
	if now := field(p.pid, "SigCgt"); now != caught {
		t.Errorf("it catches %s, before %s", now, caught)
	}
}
