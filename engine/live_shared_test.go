package engine

import (
	"errors"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/internal/watch"
)

// inShared is the function that the fixture "shared" has in memory where no patch can be.
const inShared = "*0x200000000000"

const memfd = "/memfd:shared"

// TestShared has probes in shared memory, which the kernel does not let be changed: they
// are served by debug registers, and the memory is as the program left it.
func TestShared(t *testing.T) {
	for name, spec := range map[string]ProbeSpec{"count": {}, "tell": {Action: ActionTell, Args: make([]Arg, 1)}, "handler": {Cookie: 1}} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, "shared", "500")
			s := attach(t, p.pid)
			text := textOf(t, p.pid)
			spec.Location = inShared
			var h Handler
			if spec.Cookie != 0 {
				h = openHandler(t, s, HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}}})
				spec.Handler = h
			}
			id := register(t, s, spec)
			if pl := s.Placements(id); len(pl) != 1 || pl[0].Rung != breakpoint.Hardware || pl[0].Reason == "" || pl[0].Err != nil {
				t.Errorf("%+v", pl)
			}
			if now := textOf(t, p.pid); text[memfd] == "" || now[memfd] != text[memfd] {
				t.Error("the memory is changed")
			}
			p.goOn()
			if spec.Action == ActionTell {
				if _, h := poll[*event.Hit](t, s); h.Args[0] != 0 {
					t.Errorf("%+v", h)
				}
			}
			out, _ := p.end()
			if n := s.Hits(id); n != said(t, out, "calls") || said(t, out, "bad") != 0 {
				t.Errorf("%d hits: %s", n, out)
			}
			if h != nil {
				if n := resultOf(t, h).(map[string]any)["count"]; n != 500.0 {
					t.Errorf("the handler ran %v times: %v", n, resultOf(t, h))
				}
			}
		})
	}
}

// TestSharedRefused has no debug register left for a probe in shared memory, or one that
// is to be a trap: that is said.
func TestSharedRefused(t *testing.T) {
	p := launch(t, "shared", "500")
	s := attach(t, p.pid)
	if _, err := s.Register(ProbeSpec{Location: inShared, Rung: breakpoint.Slot}); !errors.Is(err, breakpoint.ErrRefused) {
		t.Errorf("a trap: %v", err)
	}
	var first []event.ProbeID
	for {
		id, err := s.Register(ProbeSpec{Location: inShared})
		if err != nil {
			if !errors.Is(err, breakpoint.ErrRefused) || !errors.Is(err, watch.ErrDebug) {
				t.Errorf("all in use: %v", err)
			}
			break
		}
		if first = append(first, id); len(first) > 16 {
			t.Fatal("there is no end of debug registers")
		}
	}
	p.goOn()
	out, _ := p.end()
	for _, id := range first {
		if n := s.Hits(id); n != 500 || said(t, out, "bad") != 0 {
			t.Errorf("%d hits: %s", n, out)
		}
	}
}

// TestSharedLeft attaches to shared memory and detaches: the program goes on alone.
func TestSharedLeft(t *testing.T) {
	p := launch(t, "shared", "500")
	text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
	s := attach(t, p.pid)
	register(t, s, ProbeSpec{Location: inShared})
	detach(t, s)
	isClean(t, p.pid, text, caught)
	p.goOn()
	if out, status := p.end(); status != 0 || said(t, out, "bad") != 0 {
		t.Errorf("%q, status %d", out, status)
	}
}
