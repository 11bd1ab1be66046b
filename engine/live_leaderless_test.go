package engine

import (
	"strings"
	"testing"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/internal/fixture"
)

// TestLeaderless attaches to a process that has lost its first thread, and follows it into another
// program. There the thread that is left takes the first one's place.
func TestLeaderless(t *testing.T) {
	for _, program := range []string{"", fixture.Path(t, "loop")} {
		args := []string{"500"}
		if program != "" {
			args = append(args, program)
		}
		p := launch(t, "leaderless", args...)
		p.state("Z")
		text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
		s := attach(t, p.pid, Options{Life: true})
		id := register(t, s, ProbeSpec{Location: "work"})
		if program == "" {
			detach(t, s)
			isClean(t, p.pid, text, caught)
			s = attach(t, p.pid, Options{Life: true})
			id = register(t, s, ProbeSpec{Location: "work"})
		}
		p.goOn()
		if program != "" {
			if e, b := poll[*event.Exec](t, s); e.PID != p.pid || b.Path != program {
				t.Errorf("process %d executes %q", e.PID, b.Path)
			}
		}
		want := uint64(500)
		if program != "" {
			want = 1000
		}
		out, status := p.end()
		if calls := strings.Count(out, "calls 500"); status != 0 || uint64(calls)*500 != want || s.Hits(id) != want {
			t.Errorf("%q, status %d, %d hits of %d", out, status, s.Hits(id), want)
		}
	}
}

// TestLeaderlessDiagnosed asks beforehand, and once all of its threads have ended.
func TestLeaderlessDiagnosed(t *testing.T) {
	p := launch(t, "leaderless", "1")
	p.state("Z")
	if err := refuse(p.pid); err != nil {
		t.Errorf("refused: %v", err)
	}
	if f := Diagnose(p.pid); len(f) != 1 || !f[0].OK {
		t.Errorf("%+v", f)
	}
	p.goOn()
	if out, status := p.end(); out != "calls 1\n" || status != 0 {
		t.Errorf("%q, status %d", out, status)
	}
	if err := refuse(p.pid); err == nil {
		t.Error("attached to what has ended")
	}
}
