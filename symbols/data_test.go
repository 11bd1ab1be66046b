package symbols

import (
	"debug/elf"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/fixture"
)

func TestVariable(t *testing.T) {
	path := fixture.Path(t, "gowork")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	list, err := o.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, s := range list {
		if s.Name == "runtime.allgs" || s.Name == "runtime.sched" {
			found++
			if at, ok := f.Variable(s.Name); !ok || at != arch.Addr(s.Value) {
				t.Errorf("%s at %v, it is at %#x", s.Name, at, s.Value)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 variables", found)
	}
	for _, name := range []string{"runtime.allg", "untime.allgs", "main.work"} {
		if at, ok := f.Variable(name); ok {
			t.Errorf("%s at %v", name, at)
		}
	}
}
