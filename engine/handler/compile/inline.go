package compile

import (
	"errors"

	"github.com/ptracer/ptracer/arch"

	"github.com/ptracer/ptracer/engine/handler/compile/amd64"
	"github.com/ptracer/ptracer/engine/handler/compile/arm64"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// Way is where inlined code runs; package plan has it.
type Way = plan.Way

// Inline makes r's code to lie at t.Base between two instructions of the
// program: entered at its first byte and left behind its last, with all
// registers as they were, and the flags if w says so. It calls no helpers.
func Inline(r *verify.Result, t Target, w Way) ([]byte, error) {
	wrap := amd64.Way
	if r.Context.Arch == "arm64" {
		wrap = arm64.Way
	}
	t.Called, t.Result = false, false
	base, before := t.Base, 0
	for range 4 {
		t.Base = base + arch.Addr(before)
		code, err := Compile(r, t)
		if err != nil {
			return nil, err
		}
		in, out, err := wrap(code, &w)
		if err != nil {
			return nil, err
		}
		if len(in) == before {
			return append(append(in, code.Bytes...), out...), nil
		}
		before = len(in)
	}
	return nil, errors.New("compile: the way in does not settle")
}
