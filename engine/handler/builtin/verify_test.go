package builtin

import (
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

const allRights = program.ReadMemory | program.WriteMemory | program.Override

// TestVerified holds that the verifier takes every handler, on both
// instruction sets.
func TestVerified(t *testing.T) {
	for _, m := range all {
		for _, arch := range []string{"amd64", "arm64"} {
			h, err := m.make(t, context(t, arch))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []*program.Program{h.Entry, h.Exit} {
				if p == nil {
					continue
				}
				r, err := verify.Check(p, verify.Options{Context: h.Context, Rights: allRights})
				if err != nil {
					t.Errorf("%s, %s: %v", m.name, arch, err)
					continue
				}
				if r.Steps < 2 || r.Steps > 100000 {
					t.Errorf("%s, %s: %d steps of %d instructions", m.name, arch, r.Steps, len(p.Insns))
				}
				t.Logf("%s %s: %d instructions, %d steps, needs %v stack %v", m.name, arch, len(p.Insns), r.Steps, r.Needs, r.Stack)
			}
		}
	}
}
