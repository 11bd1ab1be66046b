package engine

import (
	"testing"
	"time"

	"github.com/ptracer/ptracer/procfs"
)

// TestOrphans kills a program between its child's first stop and the event that tells of the
// child: that goes on, and ends, with what is in its copy of the memory taken out.
func TestOrphans(t *testing.T) {
	needsJumping(t)                        // at a trap it would wait for the session before it forks
	other := launch(t, "sleeper", "pause") // for which the session stays
	s := attach(t, other.pid, Options{Follow: true})
	for _, how := range []string{"fork", "vfork", "clear"} {
		p := launch(t, "forker", how, "1", "20000000")
		if err := s.AddProcess(p.pid); err != nil {
			t.Fatal(err)
		}
		id := register(t, s, ProbeSpec{Location: "forker:work"})
		child := 0
		s.(*session).look(func() { // what stops meanwhile waits
			p.goOn()
			for end := time.Now().Add(hangs / 10); time.Now().Before(end) && (child == 0 || procfs.State(child) != 't'); time.Sleep(time.Millisecond) {
				child = childOf(p.pid)
			}
			p.killed()
		})
		if child == 0 {
			t.Fatalf("%s: no child", how)
		}
		_, _ = p.end()
		until(t, how+": the child goes on", func() bool { return procfs.Tracer(child) == 0 })
		if state := procfs.State(child); state != 'R' && state != 'Z' && state != 0 {
			t.Errorf("%s: the child is in state %c", how, state)
		}
		until(t, how+": the child's end", func() bool { return procfs.State(child) == 0 || procfs.State(child) == 'Z' })
		if err := s.Unregister(id); err != nil {
			t.Error(err)
		}
	}
}
