package engine

import (
	"fmt"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
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
	err := se.do(func() error {
		proc := se.procs[p.pid]
		for _, site := range proc.Space.Table.Sites() {
			pl := gateOf(site)
			if pl == nil {
				continue
			}
			call := proc.Space.Table.At(site.End())
			if !site.Jumps() || call == nil || call.End() != pl.behind || !se.hooked(proc, call.Addr) {
				return fmt.Errorf("the gate at %v: jumps %v, its call %+v", site.Addr, site.Jumps(), call)
			}
			calls = append(calls, call)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) == 0 {
		t.Fatal("no gate")
	}
	register(t, s, ProbeSpec{Location: fmt.Sprintf("*%#x", uint64(calls[0].Addr))})
	err = se.do(func() error {
		table := se.procs[p.pid].Space.Table
		if at := table.At(calls[0].Addr - arch.Addr(se.isa.JumpLen())); at != nil && gateOf(at) != nil {
			return fmt.Errorf("%v still has a gate", calls[0].Addr)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	p.goOn()
	if out, status := p.end(); unpid(out) != unpid(want) || status != 0 {
		t.Errorf("%q, status %d, want %q", out, status, want)
	}
}
