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

// Part is one of the programs that are inlined at one place.
type Part struct {
	Result *verify.Result
	Target Target // Base, Called and Result are Inline's
	Way    Way
}

// Inline makes the parts' code, one behind the other, to lie at base between two
// instructions of the program: entered at its first byte and left behind its
// last, with all registers as they were, and the flags if the way says so. It
// calls no helpers. The order of the parts is Inline's own: those that need
// neither a frame nor the context (counters) come behind the first that does, and
// share the registers that it has kept.
func Inline(parts []Part, base arch.Addr) ([]byte, error) {
	groups, err := group(parts, base)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, g := range groups {
		code, err := inline(g, base+arch.Addr(len(all)))
		if err != nil {
			return nil, err
		}
		all = append(all, code...)
	}
	return all, nil
}

// group puts what needs neither frame nor context behind the first part that does.
func group(parts []Part, base arch.Addr) (groups [][]Part, err error) {
	var bare []Part
	for _, p := range parts {
		code, err := p.compile(base)
		switch {
		case err != nil:
			return nil, err
		case code.Bare() && !p.looks():
			bare = append(bare, p)
		default:
			groups = append(groups, []Part{p})
		}
	}
	if len(groups) == 0 {
		groups = make([][]Part, 1)
	}
	groups[0] = append(groups[0], bare...)
	return groups, nil
}

// looks is whether a program looks at its context: then no other's code may
// have changed registers before.
func (p Part) looks() bool {
	for off := 0; off < p.Result.Context.Size; off += 8 {
		if p.Result.Reads(off) {
			return true
		}
	}
	return false
}

func (p Part) compile(base arch.Addr) (*Code, error) {
	t := p.Target
	t.Base, t.Called, t.Result = base, false, false
	return Compile(p.Result, t)
}

// inline makes the code of parts of which all but the first need no frame. How
// long the way in is depends on what the code changes, and that, now and then,
// on where it lies.
func inline(parts []Part, base arch.Addr) ([]byte, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	wrap := amd64.Way
	if parts[0].Result.Context.Arch == "arm64" {
		wrap = arm64.Way
	}
	before := 0
	for range 4 {
		var whole Code
		var body []byte
		for i, p := range parts {
			code, err := p.compile(base + arch.Addr(before+len(body)))
			if err != nil {
				return nil, err
			}
			if i == 0 {
				whole = *code
			}
			whole.Clobbers |= code.Clobbers
			whole.Flags = whole.Flags || code.Flags
			body = append(body, code.Bytes...)
		}
		in, out, err := wrap(&whole, &parts[0].Way)
		if err != nil {
			return nil, err
		}
		if len(in) == before {
			return append(append(in, body...), out...), nil
		}
		before = len(in)
	}
	return nil, errors.New("compile: the way in does not settle")
}
