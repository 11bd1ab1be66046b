package location

import (
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/symbols"
)

func TestMain(m *testing.M) { leak.Main(m) }

// compile makes a program; arguments that name a file in testdata are taken from there.
func compile(t testing.TB, compiler string, args ...string) string {
	t.Helper()
	return forge.Compile(t, "../testdata", compiler, args...)
}

func open(t testing.TB, path string) *symbols.File {
	t.Helper()
	f, err := symbols.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func isaOf(f *symbols.File) arch.ISA {
	if f.Machine() == arm64.ISA.Machine() {
		return arm64.ISA
	}
	return amd64.ISA
}

// resolve is the names and addresses that a location means.
func resolve(t testing.TB, f *symbols.File, text string) []Target {
	t.Helper()
	l, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := l.Resolve(f, isaOf(f))
	if err != nil {
		t.Fatalf("%s in %s: %v", text, f.Name(), err)
	}
	return targets
}
