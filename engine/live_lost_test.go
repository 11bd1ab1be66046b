package engine

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/procfs"
)

// lostRungs are the rungs with patches that can be lost, and the one that has no patch.
var lostRungs = map[string]breakpoint.Rung{"auto": breakpoint.Auto, "trap": breakpoint.Slot, "hardware": breakpoint.Hardware}

// checkLost says what a probe of "replace" has to say that was at work in the first of
// two rounds: of the second it knows, or says that it does not.
func checkLost(t *testing.T, s Session, id event.ProbeID, rung breakpoint.Rung, gap string) {
	t.Helper()
	places := s.Placements(id)
	want, n := uint64(10), s.Hits(id)
	if rung == breakpoint.Hardware {
		want, gap = 20, ""
	}
	if n != want || len(places) != 1 || places[0].Gap != gap {
		t.Errorf("%d hits, not %d with gap %q: %+v", n, want, gap, places)
	}
}

// TestLostEnd has a program lose a patch, and end before anybody looks.
func TestLostEnd(t *testing.T) {
	for name, rung := range lostRungs {
		t.Run(name+"/started", func(t *testing.T) {
			s, pid := started(t, fixture.Path(t, "replace"), "10")
			id := register(t, s, ProbeSpec{Location: "replace:work", Rung: rung})
			if err := s.Resume(pid); err != nil {
				t.Fatal(err)
			}
			<-s.Done()
			checkLost(t, s, id, rung, plant.GapLost)
		})
		t.Run(name+"/attached", func(t *testing.T) {
			p := launch(t, "replace", "10")
			s := attach(t, p.pid)
			id := register(t, s, ProbeSpec{Location: "replace:work", Rung: rung})
			p.goOn()
			if out, status := p.end(); status != 0 || said(t, out, "calls") != 20 {
				t.Errorf("%q, status %d", out, status)
			}
			<-s.Done()
			checkLost(t, s, id, rung, plant.GapLost)
		})
	}
}

// TestLostKept has a program lose the patch of a probe that no client asks about before Unregister
// or Detach. The loss is told, too.
func TestLostKept(t *testing.T) {
	for _, end := range []string{"unregister", "detach"} {
		for name, rung := range lostRungs {
			t.Run(end+"/"+name, func(t *testing.T) {
				p := launch(t, "replace", "10", "stay")
				text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
				s := attach(t, p.pid)
				id := register(t, s, ProbeSpec{Location: "replace:work", Rung: rung})
				p.goOn()
				asleep(t, p.pid, s, id, 10)
				if end == "unregister" {
					if err := s.Unregister(id); err != nil {
						t.Error(err)
					}
				}
				detach(t, s)
				if pl := s.Placements(id); rung != breakpoint.Hardware && pl[0].Gap != plant.GapLost {
					t.Errorf("%+v", pl)
				}
				isClean(t, p.pid, text, caught)
				p.goOn()
				p.goOn()
				if out, status := p.end(); status != 0 || !strings.HasSuffix(out, "calls 30\n") {
					t.Errorf("%q, status %d", out, status)
				}
			})
		}
	}
}

// asleep waits until a program has had n hits and reads its input again.
func asleep(t *testing.T, pid int, s Session, id event.ProbeID, n uint64) {
	t.Helper()
	for end := time.Now().Add(hangs); s.Hits(id) < n || procfs.State(pid) != 'S' || !reads(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d hits: %s", s.Hits(id), where(pid))
		}
	}
}

// reads reports whether a task waits for its standard input.
func reads(pid int) bool {
	call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	f := strings.Fields(string(call))
	return len(f) > 1 && f[1] == "0x0" && (f[0] == "0" || f[0] == "63")
}

// TestLostAgain looks at the places of a probe while the program runs: what was lost is
// planted again, as it was, and it is said that hits are missing.
func TestLostAgain(t *testing.T) {
	for name, rung := range lostRungs {
		t.Run(name, func(t *testing.T) {
			p := launch(t, "replace", "10", "stay")
			s := attach(t, p.pid)
			id := register(t, s, ProbeSpec{Location: "replace:work", Rung: rung})
			was := s.Placements(id)[0].Rung
			p.goOn()
			asleep(t, p.pid, s, id, 10)
			gap := plant.GapAgain
			if rung == breakpoint.Hardware {
				gap = ""
			}
			pl := s.Placements(id)[0]
			for end := time.Now().Add(hangs); pl.Gap != gap && time.Now().Before(end); pl = s.Placements(id)[0] {
				time.Sleep(time.Millisecond) // it is not looked each time
			}
			if pl.Gap != gap || pl.Rung != was {
				t.Errorf("%+v, was %v", pl, was)
			}
			p.goOn()
			asleep(t, p.pid, s, id, 20)
			p.goOn()
			out, status := p.end()
			<-s.Done()
			if n := s.Hits(id); n != 30 || status != 0 || !strings.HasSuffix(out, "calls 30\n") {
				t.Errorf("%d hits: %q, status %d", n, out, status)
			}
			if pl := s.Placements(id); pl[0].Gap != gap {
				t.Errorf("%+v", pl)
			}
		})
	}
}
