package symbols

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/forge"
)

// TestConvention: of programs that Go builds, with and without symbols, and of C.
func TestConvention(t *testing.T) {
	for name, c := range map[string]struct{ env, flags []string }{
		"plain":    {},
		"pie":      {flags: []string{"-buildmode=pie"}},
		"arm64":    {env: []string{"GOARCH=arm64"}},
		"arm64pie": {env: []string{"GOARCH=arm64"}, flags: []string{"-buildmode=pie"}},
		"stripped": {flags: []string{"-ldflags=-s -w"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, goBuild(t, c.env, c.flags...))
			want := map[string]arch.Convention{
				"main.main": arch.GoRegisters, "main.(*point).move": arch.GoRegisters, "main.main.func1": arch.GoRegisters,
				"runtime.mallocgc": arch.GoRegisters,
				"runtime.memmove":  arch.NotKnown, "runtime.memclrNoHeapPointers": arch.NotKnown, "runtime.gogo": arch.NotKnown,
			}
			if name == "stripped" {
				delete(want, "runtime.gogo") // there is no telling it from its wrapper's name
			} else {
				want["runtime.gogo.abi0"] = arch.GoStack
				delete(want, "runtime.gogo")
			}
			for name, want := range want {
				fns, err := f.Lookup(name)
				if err != nil || len(fns) == 0 {
					t.Errorf("%s: %v, %v", name, fns, err)
				}
				for _, fn := range fns {
					if got := f.Convention(fn); got != want {
						t.Errorf("%s: %v, want %v", name, got, want)
					}
				}
			}
			if got := f.Convention(Function{Name: "no start of one", Addr: f.Entry() + 1}); got != arch.C {
				t.Errorf("where no function of Go's starts: %v", got)
			}
		})
	}
}

// TestConventionOfC: in a program of both languages, C's functions are C's, and so are
// those of other files.
func TestConventionOfC(t *testing.T) {
	dir := t.TempDir()
	forge.Tool(t, "gcc")
	source := filepath.Join("..", "testdata", "src", "gocgo.go")
	out := filepath.Join(dir, "gocgo")
	cmd := exec.Command(forge.Tool(t, "go"), "build", "-o", out, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	f := open(t, out)
	for name, want := range map[string]arch.Convention{
		"main.deep": arch.GoRegisters, "main.work": arch.GoRegisters, "around": arch.C, "plain": arch.C, "step": arch.C, "_cgoexp_": arch.GoRegisters,
	} {
		all, err := f.Functions()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(fn Function) bool {
			return fn.Name == name || name == "_cgoexp_" && len(fn.Name) > 8 && fn.Name[:8] == name
		})
		if i < 0 {
			t.Errorf("%s is nowhere", name)
		} else if got := f.Convention(all[i]); got != want {
			t.Errorf("%s: %v, want %v", all[i].Name, got, want)
		}
	}
	sh := open(t, "/bin/sh")
	if got := sh.Convention(Function{Addr: sh.Entry()}); got != arch.C {
		t.Errorf("of a shell: %v", got)
	}
}
