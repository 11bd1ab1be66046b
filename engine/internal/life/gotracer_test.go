package life

import (
	"runtime"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/symbols"
)

// TestGoCalls has sites on the calls of Go programs only where these trace.
func TestGoCalls(t *testing.T) {
	isa := map[string]arch.ISA{"amd64": amd64.ISA, "arm64": arm64.ISA}[runtime.GOARCH]
	for name, want := range map[string]int{"gotracer": 1, "gowork": 0} {
		f, err := symbols.Open(fixture.Path(t, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		x := &Life{isa: isa}
		if at := x.goCallsIn(&symbols.Module{File: f}); len(at) != want {
			t.Errorf("%s: %v", name, at)
		}
	}
}
