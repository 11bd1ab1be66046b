package symbols

import (
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// compile makes a program; arguments that name a file in testdata are taken from there.
func compile(t testing.TB, compiler string, args ...string) string {
	t.Helper()
	return forge.Compile(t, "testdata", compiler, args...)
}

func open(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func isaOf(f *File) arch.ISA {
	if f.Machine() == arm64.ISA.Machine() {
		return arm64.ISA
	}
	return amd64.ISA
}

// compilers are gcc for both architectures.
var compilers = []string{"gcc", "aarch64-linux-gnu-gcc"}
