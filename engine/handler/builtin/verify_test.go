package builtin

import (
	"fmt"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// The verifier accepts every handler, on both instruction sets.
func TestVerifierAccepts(t *testing.T) {
	for _, m := range all {
		for arch := range contexts {
			t.Run(m.name+"/"+arch, func(t *testing.T) {
				c := context(t, arch)
				h, err := m.make(t, c)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range both(h) {
					r, err := verify.Check(p, verify.Options{Context: c, Rights: program.ReadMemory | program.Override})
					if err != nil {
						t.Fatal(err)
					}
					t.Logf("%s: %d instructions, %d steps at the most, %d bytes of stack, rights %v", p.Name, len(p.Insns), r.Steps, r.Stack[0], r.Needs)
				}
			})
		}
	}
}

// BenchmarkVerify verifies the entry program of each handler.
func BenchmarkVerify(b *testing.B) {
	ctx, err := program.ContextOf("amd64")
	if err != nil {
		b.Fatal(err)
	}
	for _, k := range Kinds {
		h, err := k.Make(ctx, Params{})
		if err != nil {
			h, err = k.Make(ctx, Params{Exprs: []string{"arg0"}})
		}
		if err != nil {
			b.Fatal(err)
		}
		p := h.At(h.First())
		b.Run(fmt.Sprintf("%s-%d", k.Name, len(p.Insns)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify.Check(p, verify.Options{Context: ctx, Rights: program.ReadMemory | program.Override}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
