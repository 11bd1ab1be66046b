package symbols

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/internal/forge"
)

// goBuild builds the program in testdata/gofix.
func goBuild(t *testing.T, env []string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", "gofix", "main.go.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "prog")
	cmd := exec.Command(forge.Tool(t, "go"), append(append([]string{"build", "-o", out}, flags...), "main.go")...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	return out
}

var goNames = []string{"main.main", "main.(*stack[...]).push", "main.point.norm", "main.(*point).move", "main.first[...]",
	"main.main.func1", "fmt.(*pp).doPrintln", "runtime.mallocgc"}

// TestStrippedGo: Go's own table has the functions that the symbol table had,
// at the same addresses.
func TestStrippedGo(t *testing.T) {
	for name, c := range map[string]struct{ env, flags []string }{
		"plain":    {},
		"pie":      {flags: []string{"-buildmode=pie"}},
		"external": {[]string{"CGO_ENABLED=1"}, []string{"-ldflags=-linkmode=external"}},
		"arm64":    {env: []string{"GOARCH=arm64"}},
		"arm64pie": {env: []string{"GOARCH=arm64"}, flags: []string{"-buildmode=pie"}},
		"extpie":   {[]string{"CGO_ENABLED=1"}, []string{"-ldflags=-linkmode=external", "-buildmode=pie"}},
	} {
		t.Run(name, func(t *testing.T) {
			if slices.Contains(c.env, "CGO_ENABLED=1") {
				forge.Tool(t, "gcc")
			}
			path := goBuild(t, c.env, c.flags...)
			full := open(t, path)
			bare := filepath.Join(t.TempDir(), "bare")
			strip := "strip"
			if slices.Contains(c.env, "GOARCH=arm64") {
				strip = "aarch64-linux-gnu-strip"
			}
			forge.Run(t, strip, "-o", bare, path)
			f := open(t, bare)
			if !f.IsGo() || !full.IsGo() {
				t.Error("not known as Go")
			}
			compareGo(t, full, f)
		})
	}
}

func compareGo(t *testing.T, full, f *File) {
	t.Helper()
	for _, name := range goNames {
		want, err1 := full.Lookup(name)
		got, err2 := f.Lookup(name)
		if err1 != nil || err2 != nil || len(got) == 0 || len(want) != len(got) {
			t.Errorf("%s: %+v, %v; with symbols %+v, %v", name, got, err2, want, err1)
			continue
		}
		if len(want) > 0 && (want[0].Addr != got[0].Addr || got[0].Size < want[0].Size) {
			t.Errorf("%s: %+v; with symbols %+v", name, got, want)
		}
		if exits, err := f.Exits(isaOf(f), got[0]); err != nil || len(exits) == 0 {
			t.Errorf("%s: exits %v, %v", name, exits, err)
		}
	}
	all, err := f.Functions()
	if err != nil || len(all) < 500 {
		t.Errorf("%d functions, %v", len(all), err)
	}
	for i := 0; i < len(all); i += 20 {
		fns, err := full.Lookup(all[i].Name)
		abi0, _ := full.Lookup(all[i].Name + ".abi0") // of assembly
		if err != nil || !slices.ContainsFunc(append(fns, abi0...), func(fn Function) bool { return fn.Addr == all[i].Addr }) {
			t.Errorf("%+v; with symbols %+v, %v", all[i], fns, err)
		}
	}
}

// TestGoWithoutSections finds the table by its magic number.
func TestGoWithoutSections(t *testing.T) {
	path := goBuild(t, nil, "-ldflags=-s -w")
	full := open(t, goBuild(t, nil))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[40:48])
	clear(b[58:64])
	bare := filepath.Join(t.TempDir(), "bare")
	if err := os.WriteFile(bare, b, 0o755); err != nil {
		t.Fatal(err)
	}
	f := open(t, bare)
	fns, err := f.Functions()
	if err != nil || len(fns) < 500 {
		t.Fatalf("%d functions, %v", len(fns), err)
	}
	want, err := full.Lookup("main.(*point).move")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Lookup("main.(*point).move"); err != nil || len(got) != 1 || got[0].Size != want[0].Size && got[0].Size != (want[0].Size+31)&^31 {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
