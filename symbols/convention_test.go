package symbols

import (
	"debug/elf"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
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
	tool(t, "gcc")
	source := filepath.Join("..", "testdata", "src", "gocgo.go")
	out := filepath.Join(dir, "gocgo")
	cmd := exec.Command(tool(t, "go"), "build", "-o", out, source)
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

func TestConventionVersions(t *testing.T) {
	const text = 0x401000
	for _, machine := range []elf.Machine{elf.EM_X86_64, elf.EM_AARCH64} {
		for magic, want := range map[uint32]arch.Convention{
			magicGo12: arch.GoStack, magicGo116: arch.GoStack, magicGo118: arch.GoRegisters, magicGo120: arch.GoRegisters,
		} {
			if machine == elf.EM_X86_64 && magic == magicGo116 {
				want = arch.NotKnown // nothing says which Go it is
			}
			g, ok := parseGoTable(coded(t, machine, text), 0x500000, goTableOf(magic, text))
			if !ok {
				t.Fatalf("%#x: not understood", magic)
			}
			if got := g.convention(); got != want {
				t.Errorf("%v, %#x: %v, want %v", machine, magic, got, want)
			}
			for _, off := range []uint64{0, 1 << 20, math.MaxUint64, math.MaxUint64 - 36} {
				g.assembly(off)
			}
		}
	}
	for version, want := range map[string]arch.Convention{
		"go1.16": arch.GoStack, "go1.16.15": arch.GoStack, "go1.17": arch.GoRegisters, "go1.17.13": arch.GoRegisters,
		"devel go1.17-abc": arch.GoRegisters, "go1.17 X:noregabi": arch.GoStack, "": arch.NotKnown, "devel +abc": arch.NotKnown,
		"go1.99999999999999999999": arch.GoRegisters,
	} {
		if got := conventionOf117(version); got != want {
			t.Errorf("%q: %v, want %v", version, got, want)
		}
	}
}

// TestAssembly: the flag lies where each Go has it, and nowhere else.
func TestAssembly(t *testing.T) {
	for magic, at := range map[uint32]int{magicGo118: 37, magicGo120: 41} {
		for i := range 60 {
			data := make([]byte, 60)
			data[i] = funcFlagAsm
			g := &goTable{magic: magic, width: 4, data: data}
			if got, want := g.assembly(0), i == at; got != want {
				t.Errorf("%#x: the flag at %d: %v", magic, i, got)
			}
		}
	}
}
