package engine

import (
	"context"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/internal/fixture"
)

// ifuncSpecs are probes of each kind.
var ifuncSpecs = map[string]ProbeSpec{"count": {}, "trap": {Rung: breakpoint.Slot}, "hardware": {Rung: breakpoint.Hardware}, "tell": {Action: ActionTell}}

// chosenNames are the functions of a fixture that are IFUNCs.
func chosenNames(program string) []string {
	if runtime.GOARCH == "amd64" && (program == "chosen" || program == "chosen-static") {
		return []string{"foo", "work"}
	}
	return []string{"foo"}
}

// TestIfunc counts the calls of IFUNCs with implementations of other names: in programs that are
// there already, and in programs that are started.
func TestIfunc(t *testing.T) {
	for _, program := range []string{"chosen", "chosen-now", "chosen-static", "chosen-static-pie"} {
		for name, spec := range ifuncSpecs {
			t.Run(program+"/attached/"+name, func(t *testing.T) {
				p := launch(t, program, "500")
				s := attach(t, p.pid)
				end := watchChosen(t, s, program, spec)
				p.goOn()
				out, _ := p.end()
				end(said(t, out, "calls"))
			})
			t.Run(program+"/started/"+name, func(t *testing.T) {
				s, pid := started(t, fixture.Path(t, program), "500")
				end := watchChosen(t, s, program, spec)
				if err := s.Resume(pid); err != nil {
					t.Fatal(err)
				}
				<-s.Done()
				end(500)
			})
		}
	}
}

// started starts a program that stands before its first instruction.
func started(t *testing.T, path string, args ...string) (Session, int) {
	t.Helper()
	s, err := Start(context.Background(), Command{Path: path, Args: args, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(t, s) })
	return s, s.Processes()[0]
}

// watchChosen plants a probe at each IFUNC of a program; the function that it gives back
// says whether all calls were counted, by the name that was asked for.
func watchChosen(t *testing.T, s Session, program string, spec ProbeSpec) func(calls uint64) {
	t.Helper()
	var ends []func(uint64)
	for _, name := range chosenNames(program) {
		spec := spec
		spec.Location = program + ":" + name
		id := register(t, s, spec)
		ends = append(ends, func(calls uint64) {
			t.Helper()
			places := s.Placements(id)
			for _, pl := range places {
				if pl.Name != spec.Location || pl.Gap != "" || pl.Err != nil || pl.Rung == breakpoint.Auto {
					t.Errorf("%+v", pl)
				}
			}
			if n := s.Hits(id); n != calls || len(places) == 0 {
				t.Errorf("%s: %d hits, %d calls: %+v", name, n, calls, places)
			}
		})
	}
	return func(calls uint64) {
		t.Helper()
		for _, end := range ends {
			end(calls)
		}
	}
}

// TestIfuncHandler runs handlers at an implementation's entry and exit.
func TestIfuncHandler(t *testing.T) {
	p := launch(t, "chosen", "500")
	s := attach(t, p.pid)
	h := openHandler(t, s, HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"ret"}}})
	register(t, s, ProbeSpec{Location: "chosen:foo", Handler: h})
	latency := openHandler(t, s, HandlerSpec{Name: "latency"})
	register(t, s, ProbeSpec{Location: "chosen:foo", Handler: latency})
	back := register(t, s, ProbeSpec{Location: "chosen:foo%return"})
	p.goOn()
	p.end()
	for _, h := range []Handler{h, latency} {
		if n := resultOf(t, h).(map[string]any)["count"]; n != 500.0 {
			t.Errorf("%v", resultOf(t, h))
		}
	}
	if n := s.Hits(back); n != 500 {
		t.Errorf("%d returns", n)
	}
}

// TestIfuncOnce has a pattern name an IFUNC and what implements it: a call is one hit.
func TestIfuncOnce(t *testing.T) {
	p := launch(t, "chosen", "500")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "chosen:*o*"}) // foo, work, resolve_foo
	plain := register(t, s, ProbeSpec{Location: "chosen:plain*"})
	p.goOn()
	p.end()
	sum := uint64(0)
	for _, pl := range s.Placements(id) {
		if strings.HasSuffix(pl.Name, ":foo") {
			sum += pl.Hits
		}
	}
	if n := s.Hits(plain); sum != 500 || n != 500 {
		t.Errorf("%d, %d hits: %+v", sum, n, s.Placements(id))
	}
}

// TestIfuncLibrary has an IFUNC in a library, which another library calls, before the IFUNC is
// bound and afterwards. What dlsym has returned before can't be known, and the placement says so.
func TestIfuncLibrary(t *testing.T) {
	lib, user := fixture.Path(t, "chosen.so"), fixture.Path(t, "chosen-user.so")
	for _, mode := range []string{"", "bound", "pointer"} {
		t.Run("attached/"+mode, func(t *testing.T) {
			p := launch(t, "chosen-caller", "500", lib, user, mode)
			s := attach(t, p.pid)
			id := register(t, s, ProbeSpec{Location: "chosen.so:foo"})
			p.goOn()
			p.end()
			places := s.Placements(id)
			if len(places) != 1 || places[0].Name != "chosen.so:foo" || (places[0].Gap != "") != (mode == "pointer") {
				t.Errorf("%+v", places)
			}
			if n := s.Hits(id); n != 500 && mode != "pointer" {
				t.Errorf("%d hits", n)
			}
		})
		t.Run("started/"+mode, func(t *testing.T) {
			s, pid := started(t, fixture.Path(t, "chosen-caller"), "500", lib, user, mode)
			id := register(t, s, ProbeSpec{Location: "chosen.so:foo", Pending: true})
			if err := s.Resume(pid); err != nil {
				t.Fatal(err)
			}
			<-s.Done()
			want := uint64(500)
			if mode == "bound" {
				want++
			}
			if places, n := s.Placements(id), s.Hits(id); n != want || len(places) != 1 || places[0].Gap != "" {
				t.Errorf("%d hits: %+v", n, places)
			}
		})
	}
}

// TestIfuncNothing has a resolver that has chosen nothing: there is nothing to miss.
func TestIfuncNothing(t *testing.T) {
	for _, program := range []string{"chosen", "chosen-static"} {
		p := launch(t, program, "5")
		s := attach(t, p.pid)
		id := register(t, s, ProbeSpec{Location: program + ":nothing"})
		p.goOn()
		p.end()
		if pl := s.Placements(id); len(pl) != 1 || pl[0].Gap != "" || pl[0].Err != nil || s.Hits(id) != 0 {
			t.Errorf("%+v", pl)
		}
	}
}

// TestIfuncResolver asks for a resolver by its own name: its one call is counted.
func TestIfuncResolver(t *testing.T) {
	s, pid := started(t, fixture.Path(t, "chosen"), "500")
	id := register(t, s, ProbeSpec{Location: "chosen:resolve_foo"})
	part := register(t, s, ProbeSpec{Location: "chosen:foo+0"})
	if err := s.Resume(pid); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if n := s.Hits(id); n != 1 {
		t.Errorf("%d hits of the resolver: %+v", n, s.Placements(id))
	}
	if pl := s.Placements(part); len(pl) != 1 || pl[0].Gap == "" {
		t.Errorf("%+v", pl)
	}
}
