package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
)

// TestCount64 has 64 threads run through one site.
func TestCount64(t *testing.T) {
	for _, name := range []string{"threads", "threads-static"} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, name, "64", "60")
			s := attach(t, p.pid)
			id := register(t, s, ProbeSpec{Location: "work"})
			p.goOn()
			out, _ := p.end()
			if got, want := s.Hits(id), said(t, out, "calls"); got != want || want != 64*60 {
				t.Errorf("%d hits, %d calls", got, want)
			}
		})
	}
}

// TestCountActions has each action count, one probe of each on the same site.
func TestCountActions(t *testing.T) {
	p := launch(t, "threads", "4", "200")
	s := attach(t, p.pid)
	calls := 0
	ids := []int{}
	for _, spec := range []ProbeSpec{
		{Action: ActionCount}, {Action: ActionTell, Args: make([]Arg, 2)}, {Action: ActionCall, Func: func(Hit) { calls++ }}, {Action: ActionCount},
	} {
		spec.Location = "work"
		ids = append(ids, int(register(t, s, spec)))
	}
	p.goOn()
	out, _ := p.end()
	want := said(t, out, "calls")
	for _, pl := range s.Placements(0) {
		if pl.Hits != want {
			t.Errorf("probe %d: %d hits, want %d", pl.Probe, pl.Hits, want)
		}
	}
	detach(t, s)
	if uint64(calls) != want || len(ids) != 4 {
		t.Errorf("%d calls of Func, want %d", calls, want)
	}
}

// TestRungs puts every instruction of a function on each rung in turn: where
// the rung can serve the instruction, the counts are those of the best rung,
// and the program's result is the same.
func TestRungs(t *testing.T) {
	for _, mode := range []string{"sha256", "sort", "json"} {
		where := map[string]string{"sha256": "sha256+*", "sort": "compare+*", "json": "json+*"}[mode]
		want, _ := alone(t, "hot", mode, "1")
		var reference map[string]uint64
		for _, rung := range []breakpoint.Rung{breakpoint.Auto, breakpoint.Slot, breakpoint.Step} {
			t.Run(fmt.Sprintf("%s-%v", mode, rung), func(t *testing.T) {
				out, hits := countAll(t, "hot", []string{mode, "1"}, where, rung)
				if out != want {
					t.Errorf("probed: %q, want %q", out, want)
				}
				if reference == nil {
					reference = hits
				}
				if !maps.Equal(hits, reference) {
					t.Errorf("counts differ from those of the best rung:\n%s", differ(hits, reference))
				}
				for name, n := range hits {
					if !strings.Contains(name, "+") && n != said(t, out, "calls") {
						t.Errorf("%s: %d hits, %d calls", name, n, said(t, out, "calls"))
					}
				}
			})
		}
	}
}

// countAll runs a fixture with a probe and gives back what it printed and the
// hits by place.
func countAll(t testing.TB, name string, args []string, where string, rung breakpoint.Rung) (string, map[string]uint64) {
	t.Helper()
	p := launch(t, name, args...)
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: where, Rung: rung})
	p.goOn()
	out, status := p.end()
	if status != 0 {
		t.Errorf("status %d", status)
	}
	hits := map[string]uint64{}
	for _, pl := range s.Placements(id) {
		if pl.Err != nil {
			t.Errorf("%s: %v", pl.Name, pl.Err)
		}
		hits[pl.Name] = pl.Hits
	}
	detach(t, s)
	return out, hits
}

func differ(got, want map[string]uint64) string {
	var b strings.Builder
	names := slices.Sorted(maps.Keys(want))
	for name := range got {
		if _, ok := want[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if got[name] != want[name] {
			fmt.Fprintf(&b, "%s: %d, want %d\n", name, got[name], want[name])
		}
	}
	return b.String()
}

// TestEveryInstruction has probes on all instructions of hot functions, and
// compares the program's result with the one without.
func TestEveryInstruction(t *testing.T) {
	for _, c := range []struct{ fixture, args, where, entry string }{
		{"hot-avx", "sha256 1", "sha256+*", "sha256"},
		{"hot-avx", "copy 2", "copy+*", "copy"},
		{"hot", "copy 2", "copy+*", "copy"},
		{"hot-avx", "json 3", "json+*", "json"},
		{"gomap", "60", "main.put+*", "main.put"},
		{"gomap", "40", "runtime.mapassign_faststr+*", ""},
		{"gomap", "40", "runtime.mallocgc+*", ""},
		// A Go function begins anew once its stack has grown: no count of its entry.
		{"gowork", "3 70", "main.*+*", ""},
	} {
		t.Run(c.fixture+" "+c.where, func(t *testing.T) {
			args := strings.Fields(c.args)
			want, _ := alone(t, c.fixture, args...)
			out, hits := countAll(t, c.fixture, args, c.where, breakpoint.Auto)
			if out != want {
				t.Errorf("probed: %q, want %q", out, want)
			}
			if len(hits) < 3 {
				t.Errorf("only %d places", len(hits))
			}
			got := hits[c.fixture+":"+c.entry] + hits[c.fixture+":"+c.entry+"+0"]
			if c.entry != "" && got != said(t, out, "calls") {
				t.Errorf("%d hits of %s, %d calls", got, c.entry, said(t, out, "calls"))
			}
		})
	}
}
