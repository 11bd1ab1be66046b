package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine/expr/bind"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/randc"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/symbols"
)

// seed is that of the program that is a fixture; its functions are those of nameFunctions.
const (
	namesSeed      = 1
	namesFunctions = 40
)

// TestNamesFixture: the fixture is what package randc makes.
func TestNamesFixture(t *testing.T) {
	root, err := fixture.Root()
	if err != nil {
		skip.Missing(t, "the module's source")
	}
	path := filepath.Join(root, "testdata", "src", "names.c")
	want, _ := randc.Program(namesSeed, namesFunctions)
	if os.Getenv("PTRACER_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != want {
		t.Errorf("%s is not what package randc makes, %v: run the test with PTRACER_UPDATE=1", path, err)
	}
}

// TestNames records arguments and results by their names, of random functions, and compares with what
// these print.
func TestNames(t *testing.T) {
	_, list := randc.Program(namesSeed, namesFunctions)
	names := []string{"names", "names-O0", "names-static", "names-cf"}
	switch {
	case runtime.GOARCH == "arm64": // to verify a handler takes seconds in an emulated machine
		names, list = names[:2], list[:16]
	case underRace():
		names, list = names[:1], list[:6]
	}
	for i, name := range names {
		for j, where := range []handler.Where{handler.Tracee, handler.Engine, handler.Kernel} {
			if i > 0 && i%2 != j {
				continue
			}
			t.Run(fmt.Sprint(name, "-", where), func(t *testing.T) {
				if where == handler.Kernel && kernel.Available() != nil {
					skip.Missing(t, "the right to use eBPF")
				}
				compareNames(t, launch(t, name), list, where, false)
			})
		}
	}
}

// underRace reports whether the tests run with traps, as under the race detector, which makes the verifier
// ten times slower.
func underRace() bool { return os.Getenv("PTRACER_TEST_TRAPS") != "" }

// TestNamesCompilers does it with other programs, by the compilers that are there.
func TestNamesCompilers(t *testing.T) {
	compilers := []string{"gcc -O1", "clang -O2", "gcc -O3", "gcc -Og -gdwarf-4", "gcc -O2 -flto", "clang -O0", "clang -O1", "clang -O2 -gdwarf-4 -fno-omit-frame-pointer"}
	if underRace() {
		compilers = compilers[:2]
	}
	for i, cc := range compilers {
		words := strings.Fields(cc)
		t.Run(strings.ReplaceAll(cc, " ", ""), func(t *testing.T) {
			compiler, err := exec.LookPath(words[0])
			if err != nil {
				skip.Missing(t, words[0])
			}
			dir := t.TempDir()
			source, list := randc.Program(uint64(100+i), namesFunctions)
			file := filepath.Join(dir, "names.c")
			if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "names")
			if text, err := exec.Command(compiler, append(words[1:], "-g", "-o", out, file)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if underRace() {
				list = list[:4]
			}
			for i := range list { // a linker that sees all makes all functions known to one file
				list[i].Static = list[i].Static || strings.Contains(cc, "-flto")
			}
			compareNames(t, launchFile(t, os.Getuid(), out), list, handler.Auto, words[0] == "clang")
		})
	}
}

// compareNames records all functions of a program, and compares the records with its output. No value may
// be wrong; one that is missing has to have a reason.
func compareNames(t *testing.T, p *running, list []randc.Function, where handler.Where, llvm bool) {
	s := attach(t, p.pid)
	handlers := map[string]Handler{}
	for _, f := range list {
		spec := HandlerSpec{Name: "record", Where: where}
		for _, field := range f.Fields {
			spec.Params.Exprs = append(spec.Params.Exprs, field.Expr)
		}
		if len(f.Fields) == 1 { // ret alone is a word, without a type
			spec.Params.Exprs = append(spec.Params.Exprs, "args")
		}
		h := openHandler(t, s, spec)
		if _, err := s.Register(ProbeSpec{Location: f.Name, Handler: h}); err != nil {
			if f.Static && errors.Is(err, symbols.ErrNotFound) || errors.Is(err, bind.ErrNoValue) && !f.Known() {
				continue // it is nowhere, or nothing of it is
			}
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		handlers[f.Name] = h
	}
	p.goOn()
	out, status := p.end()
	if status != 0 {
		t.Errorf("status %d", status)
	}
	truth := map[string][]string{}
	for line := range strings.Lines(out) {
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		truth[name] = append(truth[name], rest)
	}
	for _, f := range list {
		h := handlers[f.Name]
		if h == nil {
			continue
		}
		if info := h.Info(); where != handler.Auto && info.Where != where {
			t.Errorf("%s ran in the %v", f.Name, info.Where)
		}
		n := 0
		for ; n < len(truth[f.Name]); n++ {
			rec, err := h.Read(time.Now())
			if err != nil {
				break
			}
			r, err := h.Decode(rec)
			if err != nil {
				t.Fatal(err)
			}
			compareRecord(t, &f, r.(*builtin.Event), truth[f.Name][n], llvm)
		}
		if lost := f.Static && n == 0; !lost && n != randc.Calls || len(truth[f.Name]) != randc.Calls { // a tail call, if its result is taken away
			t.Errorf("%s: %d records of %d calls", f.Name, n, len(truth[f.Name]))
		}
	}
}

// compareRecord compares a record with the line that the function has printed.
func compareRecord(t *testing.T, f *randc.Function, e *builtin.Event, line string, llvm bool) {
	for i, field := range f.Fields {
		rest, ok := strings.CutPrefix(line, field.Expr+"=")
		if !ok {
			t.Fatalf("%s: %q has no %s", f.Name, line, field.Expr)
		}
		want := rest
		if i+1 < len(f.Fields) {
			want, line, _ = strings.Cut(rest, " "+f.Fields[i+1].Expr+"=")
			line = f.Fields[i+1].Expr + "=" + line
		}
		if field.Hidden || f.Static && llvm && field.Expr == "ret" {
			continue // not printed; the register: LLVM takes away a result that no caller uses
		}
		got := e.Values[i].String()
		if got == want || llvm && strings.Contains(got, "is passed is not told") || (strings.HasPrefix(got, "<") || strings.Contains(got, "=?")) && (f.Static || field.Float || field.Large && runtime.GOARCH == "arm64") {
			continue
		}
		t.Errorf("%s: %s is %s, want %s", f.Name, field.Expr, got, want)
	}
}
