package engine

import (
	"strconv"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
)

// TestStorm counts under a storm of signals, on every rung that has a slot to
// be interrupted in.
func TestStorm(t *testing.T) {
	for _, c := range []struct{ fixture, mode string }{
		{"storm", "plain"}, {"storm", "altstack"}, {"storm", "jump"}, {"storm-static", "plain"},
	} {
		for _, rung := range []breakpoint.Rung{breakpoint.Auto, breakpoint.Step} {
			t.Run(c.fixture+"-"+c.mode+"-"+rung.String(), func(t *testing.T) { storming(t, c.fixture, c.mode, rung) })
		}
	}
}

func storming(t *testing.T, name, mode string, rung breakpoint.Rung) {
	n := pace(4000, 200)
	if rung == breakpoint.Step {
		n = pace(1500, 100)
	}
	// A period in which a slow CPU, too, does more than serve the signal.
	args := []string{mode, strconv.Itoa(n), pace("1500", "10000")}
	want, _ := alone(t, name, args...)
	p := launch(t, name, args...)
	s := attach(t, p.pid)
	work := register(t, s, ProbeSpec{Location: "work", Rung: rung})
	all := register(t, s, ProbeSpec{Location: "work+*", Rung: rung})
	tick := register(t, s, ProbeSpec{Location: "tick", Rung: rung})
	p.goOn()
	out, status := p.end()
	calls, jumps := weathered(t, s, out, work, tick)
	for _, pl := range s.Placements(all) {
		if pl.Hits+jumps < calls || pl.Hits > calls+jumps {
			t.Errorf("%s: %d hits, %d calls, %d jumps", pl.Name, pl.Hits, calls, jumps)
		}
	}
	if mode != "jump" && said(t, out, "sum") != said(t, want, "sum") || status != 0 {
		t.Errorf("probed: %q, status %d, want %q", out, status, want)
	}
}

// weathered compares what was hit in a storm with what the program has counted.
func weathered(t *testing.T, s Session, out string, work, tick event.ProbeID) (calls, jumps uint64) {
	t.Helper()
	calls, ticks, jumps := said(t, out, "calls"), said(t, out, "ticks"), said(t, out, "jumps")
	if got := s.Hits(tick); got != ticks || ticks == 0 {
		t.Errorf("%d hits of tick, %d calls", got, ticks)
	}
	// A call that a jump leaves may have been hit and not have counted yet.
	if got := s.Hits(work); got < calls || got > calls+jumps {
		t.Errorf("%d hits of work, %d calls, %d jumps", got, calls, jumps)
	}
	return calls, jumps
}

// TestStormJumps has signals come while a thread is mostly behind jumps: none
// is lost, no hit counts twice, and the handler's own hits count.
func TestStormJumps(t *testing.T) {
	needsJumps(t)
	for _, mode := range []string{"plain", "altstack", "jump"} {
		t.Run(mode, func(t *testing.T) {
			args := []string{mode, pace("100000000", "1000000"), pace("300", "10000")}
			if mode == "jump" { // a call has to come to its end now and then
				args[1], args[2] = pace("5000000", "20000"), pace("1500", "20000")
			}
			want, _ := alone(t, "storm", args...)
			p := launch(t, "storm", args...)
			s := attach(t, p.pid)
			work := register(t, s, ProbeSpec{Location: "work", Rung: breakpoint.Jump})
			tick := register(t, s, ProbeSpec{Location: "tick", Rung: breakpoint.Jump})
			p.goOn()
			out, status := p.end()
			weathered(t, s, out, work, tick)
			if mode != "jump" && said(t, out, "sum") != said(t, want, "sum") || status != 0 {
				t.Errorf("probed: %q, status %d, want %q", out, status, want)
			}
			t.Logf("%d calls, %d signals", said(t, out, "calls"), said(t, out, "ticks"))
		})
	}
}

// TestQueue compares the signals that a program gets, their values, senders
// and order, with those it gets without probes.
func TestQueue(t *testing.T) {
	want, _ := alone(t, "queue", "100")
	for _, opts := range []Options{{}, {Signals: true}, {Follow: true}} {
		p := launch(t, "queue", "100")
		s := attach(t, p.pid, opts)
		register(t, s, ProbeSpec{Location: "work+*"})
		p.goOn()
		if out, status := p.end(); out != want || status != 0 {
			t.Errorf("%+v: %q, want %q", opts, out, want)
		}
	}
}

// TestPreempted counts in a Go program that is preempted by SIGURG.
func TestPreempted(t *testing.T) {
	args := []string{"3", "600"}
	want, _ := alone(t, "gowork", args...)
	for _, name := range []string{"gowork", "gowork-pie"} {
		p := launch(t, name, args...)
		s := attach(t, p.pid)
		id := register(t, s, ProbeSpec{Location: "main.deep"})
		p.goOn()
		out, status := p.end()
		if out != want || status != 0 {
			t.Errorf("%s: %q, status %d, want %q", name, out, status, want)
		}
		// 41 levels for each 64th call, and those entered anew when a stack has grown
		if got := s.Hits(id); got < 3*10*41 || got > 3*10*41*2 {
			t.Errorf("%s: %d hits of main.deep", name, got)
		}
	}
}

// TestTraps has programs deal with SIGTRAP themselves while they are probed:
// nothing of what they see may differ.
func TestTraps(t *testing.T) {
	modes := "own die dieign dieblock raise default ignore pending query block mask restart nap reset once kept stack cleared shared indirect"
	for _, name := range []string{"traps", "traps-static", "traps-musl"} {
		for mode := range strings.FieldsSeq(modes) {
			t.Run(name+"-"+mode, func(t *testing.T) {
				want, wantStatus := alone(t, name, mode)
				for _, where := range []string{"work", "work+*"} {
					p := launch(t, name, mode)
					s := attach(t, p.pid, Options{Follow: where == "work"})
					id := register(t, s, ProbeSpec{Location: where})
					p.goOn()
					out, status := p.end()
					if out != want || status != wantStatus {
						t.Errorf("%s: %q, status %d, want %q, status %d", where, out, status, want, wantStatus)
					}
					if s.Hits(id) == 0 {
						t.Error("no hits")
					}
				}
			})
		}
	}
}

// TestTrapsProbed has probes on the program's own traps and on what leads to
// them.
func TestTrapsProbed(t *testing.T) {
	for _, mode := range []string{"own", "die", "raise"} {
		want, wantStatus := alone(t, "traps", mode)
		p := launch(t, "traps", mode)
		s := attach(t, p.pid)
		for _, where := range []string{"trap+*", "handler+*", "libc:raise"} {
			register(t, s, ProbeSpec{Location: where, Pending: true})
		}
		p.goOn()
		if out, status := p.end(); out != want || status != wantStatus {
			t.Errorf("%s: %q, status %d, want %q, status %d", mode, out, status, want, wantStatus)
		}
	}
}
