package handler

import (
	"errors"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// TestUnder: functions of other calling conventions get programs of their own, on the same maps, if
// these differ, and none if they need something that the convention does not define.
func TestUnder(t *testing.T) {
	r := New()
	for _, c := range []struct {
		kind   string
		params builtin.Params
		own    map[arch.Convention]bool // another instance; not there: an error
	}{
		{"count", builtin.Params{}, map[arch.Convention]bool{arch.C: false, arch.GoRegisters: false, arch.GoStack: false, arch.NotKnown: false}},
		{"hist", builtin.Params{Exprs: []string{"$rax"}}, map[arch.Convention]bool{arch.C: false, arch.GoRegisters: false, arch.GoStack: false, arch.NotKnown: false}},
		{"hist", builtin.Params{Exprs: []string{"arg0"}}, map[arch.Convention]bool{arch.C: false, arch.GoRegisters: true, arch.GoStack: true}},
		{"hist", builtin.Params{Exprs: []string{"arg8"}}, map[arch.Convention]bool{arch.GoRegisters: false, arch.GoStack: true}},
		{"hist", builtin.Params{Exprs: []string{"ret"}}, map[arch.Convention]bool{arch.C: false, arch.GoRegisters: false}},
		{"record", builtin.Params{Exprs: []string{"str(arg0)", "ret"}}, map[arch.Convention]bool{arch.C: false, arch.GoRegisters: true}},
	} {
		o := options(t, root, InEngine{})
		o.Params = c.params
		in, err := r.Open(c.kind, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, calls := range arch.Conventions {
			own, ok := c.own[calls]
			other, err := in.Under(Place{Calls: calls})
			if !ok {
				if !errors.Is(err, build.ErrNotKnown) {
					t.Errorf("%s of %v for %v: %v", c.kind, c.params.Exprs, calls, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s of %v for %v: %v", c.kind, c.params.Exprs, calls, err)
				continue
			}
			again, _ := in.Under(Place{Calls: calls})
			if (other != in) != own || again != other || other.Maps.(*Interpreted).Set != in.Maps.(*Interpreted).Set {
				t.Errorf("%s of %v for %v: its own is %v, want %v", c.kind, c.params.Exprs, calls, other != in, own)
			}
		}
		if err := in.Close(); err != nil || in.refs.Load() != 0 {
			t.Errorf("close: %v, held by %d", err, in.refs.Load())
		}
		if _, err := in.Under(Place{Calls: arch.GoStack}); !errors.Is(err, ErrClosed) {
			t.Errorf("of a closed one: %v", err)
		}
	}
}
