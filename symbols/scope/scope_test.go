package scope

import (
	"errors"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/dwarf/op"
)

func TestMain(m *testing.M) { leak.Main(m) }

// isa is this machine's.
func isa(t *testing.T, f *symbols.File) arch.ISA {
	t.Helper()
	if f.Machine().String() == "EM_AARCH64" {
		return arm64.ISA
	}
	return amd64.ISA
}

// open opens a fixture.
func open(t *testing.T, name string) (*symbols.File, *File) {
	t.Helper()
	f, err := symbols.Open(fixture.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s, err := Of(f, isa(t, f))
	if err != nil {
		t.Fatal(err)
	}
	return f, s
}

// at is the scope at a function's entry.
func at(t *testing.T, f *symbols.File, s *File, function string, point Point) *Scope {
	t.Helper()
	list, err := f.Lookup(function)
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %d functions, %v", function, len(list), err)
	}
	sc, err := s.At(list[0].Addr, point, arch.C)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func TestLookup(t *testing.T) {
	f, s := open(t, "truth-O0")
	sc := at(t, f, s, "work", AtEntry)
	params, err := sc.Params()
	if err != nil || len(params) == 0 || sc.Function() != "work" {
		t.Fatalf("%d arguments of %q, %v", len(params), sc.Function(), err)
	}
	for _, p := range params {
		v, err := sc.Lookup(p.Name)
		if err != nil || !v.Param || v.Type.Name != p.Type.Name || len(v.Pieces) != len(p.Pieces) {
			t.Errorf("%s: %+v, %v", p.Name, v, err)
		}
		if len(p.Pieces) != 1 || p.Pieces[0].Kind != op.Register {
			t.Errorf("%s is at %+v, not in its register", p.Name, p.Pieces)
		}
	}
	if v, err := sc.Local("nothing"); v != nil || err != nil {
		t.Errorf("nothing: %+v, %v", v, err)
	}
	_, err = sc.Lookup("nothing")
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), params[0].Name) {
		t.Errorf("nothing: %v, want %s among the names that there are", err, params[0].Name)
	}
	if _, err := sc.TypeNamed("struct nothing"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a type that is not there: %v", err)
	}
}

func TestPoints(t *testing.T) {
	f, s := open(t, "truth-O0")
	entry, exit := at(t, f, s, "work", AtEntry), at(t, f, s, "work", AtExit)
	params, err := exit.Params()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range params {
		if p.Why != "gone at an exit" || len(p.Pieces) > 0 {
			t.Errorf("%s at an exit: %q, %+v", p.Name, p.Why, p.Pieces)
		}
	}
	r, err := exit.Result(0)
	if err != nil || len(r.Pieces) != 1 || r.Pieces[0].Kind != op.Register {
		t.Errorf("the result: %+v, %v", r, err)
	}
	if _, err := exit.Result(1); !errors.Is(err, ErrUnknown) {
		t.Errorf("a second result: %v", err)
	}
	fn, _ := f.Lookup("work")
	none, err := s.At(fn[0].Addr+1<<40, Inside, arch.C)
	if err != nil || none.Function() != "" {
		t.Errorf("no function: %q, %v", none.Function(), err)
	}
	if list, err := none.Params(); len(list) > 0 || err != nil {
		t.Errorf("arguments of none: %d, %v", len(list), err)
	}
	if _, err := none.Result(0); !errors.Is(err, ErrUnknown) {
		t.Errorf("the result of none: %v", err)
	}
	if _, ok := entry.Register(0); !ok {
		t.Error("register 0 has no name")
	}
	if name, ok := entry.Register(64 + 17); ok {
		t.Errorf("a vector register is %s", name)
	}
}

// TestNoSource: a file without debug information has no scopes.
func TestNoSource(t *testing.T) {
	f, err := symbols.Open(fixture.Path(t, "truth-stripped"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Of(f, isa(t, f)); !errors.Is(err, symbols.ErrNoSource) {
		t.Errorf("%v", err)
	}
}
