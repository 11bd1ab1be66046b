package engine

import (
	"fmt"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// TestGates finds the gates before calls of rt_sigaction, with the site behind each; a
// probe on such a call takes its gate away, and what starts others by posix_spawn is
// none the wiser.
func TestGates(t *testing.T) {
	needsJumping(t)
	want, _ := alone(t, "forker", "spawn", "3")
	p := launch(t, "forker", "spawn", "3")
	s := attach(t, p.pid)
	register(t, s, ProbeSpec{Location: "work"})
	se := s.(*session)
	var calls []*breakpoint.Site
	var named string // one of them, in a function with a name
	err := se.loop.Do(func() error {
		proc := se.loop.Procs[p.pid]
		for _, site := range proc.Space.Table.Sites() {
			pl := probe.GateOf(site)
			if pl == nil || pl.Aside != 0 {
				continue
			}
			call := proc.Space.Table.At(site.End())
			if !site.Jumps() || call == nil || call.End() != pl.Behind || !se.hook.Hooked(proc, call.Addr) {
				return fmt.Errorf("the gate at %v: jumps %v, its call %+v", site.Addr, site.Jumps(), call)
			}
			calls = append(calls, call)
			m := proc.ModuleAt(call.Addr)
			if fn, ok := m.File.FunctionAt(call.Addr - m.Bias); ok {
				named = fmt.Sprintf("%s:%s+%d", m.Base(), fn.Name, call.Addr-m.Bias-fn.Addr)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) == 0 {
		t.Fatal("no gate")
	}
	noGate := func(se *session, pid int, id event.ProbeID) {
		t.Helper()
		for _, pl := range se.Placements(id) {
			if err := se.loop.Do(func() error {
				at := se.loop.Procs[pid].Space.Table.At(pl.Addr - arch.Addr(se.isa.JumpLen()))
				if call := se.loop.Procs[pid].Space.Table.At(pl.Addr); at != nil && probe.GateOf(at) != nil || call == nil || !se.hook.Hooked(se.loop.Procs[pid], pl.Addr) {
					return fmt.Errorf("%v has a gate: %+v, %+v", pl.Addr, at, call)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
	}
	noGate(se, p.pid, register(t, s, ProbeSpec{Location: fmt.Sprintf("*%#x", uint64(calls[0].Addr))}))
	t.Log(named)
	if named != "" { // where it is the first probe
		first := launch(t, "forker", "spawn", "3")
		s := attach(t, first.pid)
		noGate(s.(*session), first.pid, register(t, s, ProbeSpec{Location: named}))
	}
	p.goOn()
	if out, status := p.end(); unpid(out) != unpid(want) || status != 0 {
		t.Errorf("%q, status %d, want %q", out, status, want)
	}
}
