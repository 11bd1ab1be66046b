package breakpoint

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// TestNoPause: changes of more than one byte of code do nothing without a pause, and those that
// need all tasks do nothing in a pause with tasks that are not halted.
func TestNoPause(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		sites := jumps(t, isa, table, 4)
		armed := bytes.Clone(mem.parts[text])
		stays := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, errRunning) || !bytes.Equal(mem.parts[text], armed) {
				t.Errorf("%s: %v", what, err)
			}
			for _, s := range sites {
				if !s.Jumps() {
					t.Errorf("%s: %v is no jump", what, s.Addr)
				}
			}
		}
		for _, p := range []Pause{{}, NewPause(1)} {
			_, err := table.Disarm(p, sites, "why")
			stays("disarm", err)
		}
		stays("clear", table.Clear(Pause{}, sites))
		stays("remove", table.Remove(sites))
		if err := table.Clear(NewPause(1), sites); err != nil { // a stuck task is behind a system call
			t.Error(err)
		}
		if table.Retired() == 0 {
			t.Fatal("nothing is left of the sites that are gone")
		}
		for _, p := range []Pause{{}, NewPause(1)} {
			if table.Sweep(p); table.Retired() == 0 {
				t.Errorf("%+v: slots are given back", p)
			}
		}
		if table.Sweep(NewPause(0)); table.Retired() != 0 {
			t.Errorf("%d slots stay", table.Retired())
		}
		site, errs := table.Insert([]Want{{Addr: sites[0].Addr}})
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
		trapped := bytes.Clone(mem.parts[text])
		up := &Upgrade{Site: site[0], Code: handlerCode(isa, 1)}
		if err := table.Plan(up, 1); err != nil {
			t.Fatal(err)
		}
		for _, p := range []Pause{{}, NewPause(1)} {
			if err := table.Arm(p, []*Upgrade{up})[0]; !errors.Is(err, errRunning) || !bytes.Equal(mem.parts[text], trapped) {
				t.Errorf("%+v: armed: %v", p, err)
			}
		}
		if err := table.Arm(NewPause(0), []*Upgrade{up})[0]; err != nil || !site[0].Jumps() {
			t.Errorf("it can't be armed later: %v", err)
		}
	})
}
