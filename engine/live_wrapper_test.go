package engine

import (
	"fmt"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// TestWrapperGate finds the gate in the syscall() of each libc: a jump, behind which a
// call about another signal does not stop, and where it can't be one, a trap.
func TestWrapperGate(t *testing.T) {
	for _, name := range []string{"traps", "traps-static", "traps-musl"} {
		want, _ := alone(t, name, "indirect")
		p := launch(t, name, "indirect")
		s := attach(t, p.pid)
		register(t, s, ProbeSpec{Location: "work"})
		se := s.(*session)
		var gates []*breakpoint.Site
		err := se.loop.Do(func() error {
			proc := se.loop.Procs[p.pid]
			for _, site := range proc.Space.Table.Sites() {
				pl := probe.GateOf(site)
				if pl == nil || pl.Aside == 0 {
					continue
				}
				gates = append(gates, site)
				if site.Jumps() != jump.Enabled {
					return fmt.Errorf("the gate at %v jumps: %v, %s", site.Addr, site.Jumps(), site.Reason)
				}
			}
			return nil
		})
		if err != nil || len(gates) != 1 {
			t.Errorf("%s: %d gates, %v", name, len(gates), err)
		}
		p.goOn()
		if out, status := p.end(); out != want || status != 0 {
			t.Errorf("%s: %q, status %d, want %q", name, out, status, want)
		}
	}
}
