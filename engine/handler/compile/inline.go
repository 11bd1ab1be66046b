package compile

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile/amd64"
	"github.com/ptracer/ptracer/engine/handler/compile/arm64"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// Way describes where inlined code runs; package plan defines it.
type Way = plan.Way

// Part is one of the programs inlined at one place.
type Part struct {
	Result *verify.Result
	Target Target // Inline sets Base, Called and Result
	Way    Way
	// Template, if not nil, is for parts that differ only in their addresses and in how far their
	// maps' data are moved: the first one's code is moved for the others.
	Template *Template
	Moved    int // in bytes; the target's maps include it
}

// Template is code that is made once. The zero value has none yet.
type Template struct {
	code *Code
	base arch.Addr
	data int
	ways map[wayKey]inOut // for code that needs no frame
}

// wayKey has everything that the entry and exit code depend on.
type wayKey struct {
	way           Way // without the words of a frame
	clobbers      Words
	flags, claims bool
}

// inOut is the code that runs before and behind other code.
type inOut struct{ in, out []byte }

// Inline makes the code of the parts, one behind the other, for address base, between two
// instructions of the program. The code is entered at its first byte and left behind its last, with
// all registers unchanged, and the flags too if the way says so. It calls no helpers. Inline
// chooses the order of the parts: those that need neither a frame nor the context (counters) come
// behind the first that does, and share the registers that it has saved.
func Inline(parts []Part, base arch.Addr) ([]byte, error) {
	groups, err := group(parts, base)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, g := range groups {
		code, err := g.inline(base + arch.Addr(len(all)))
		if err != nil {
			return nil, err
		}
		all = append(all, code...)
	}
	return all, nil
}

// unit is the parts that share one entry and exit, and their code as if it lay elsewhere.
type unit struct {
	parts []Part
	codes []*Code
}

func (g *unit) add(p Part, c *Code) {
	g.parts, g.codes = append(g.parts, p), append(g.codes, c)
}

// group puts parts that need neither frame nor context behind the first part that does.
func group(parts []Part, base arch.Addr) (groups []unit, err error) {
	var bare unit
	for _, p := range parts {
		code, err := p.compile(base)
		switch {
		case err != nil:
			return nil, err
		case code.Bare() && !p.looks():
			bare.add(p, code)
		default:
			groups = append(groups, unit{[]Part{p}, []*Code{code}})
		}
	}
	if len(groups) == 0 {
		return []unit{bare}, nil
	}
	if groups[0].parts[0].Way.Own.Used() { // threads without a stack still count
		return append([]unit{bare}, groups...), nil
	}
	for i, p := range bare.parts {
		groups[0].add(p, bare.codes[i])
	}
	return groups, nil
}

// looks reports whether a program reads its context: then no other part may have changed registers
// before.
func (p Part) looks() bool {
	for off := 0; off < p.Result.Context.Size; off += 8 {
		if p.Result.Reads(off) {
			return true
		}
	}
	return false
}

func (p Part) compile(base arch.Addr) (*Code, error) {
	if p.Template != nil && p.Template.code != nil {
		if code := p.Template.code.Move(p.Template.base, base, p.Moved-p.Template.data); code != nil {
			return code, nil
		}
	}
	t := p.Target
	t.Base, t.Called, t.Result = base, false, false
	code, err := Compile(p.Result, t)
	if p.Template != nil && err == nil && code.Movable {
		p.Template.code, p.Template.base, p.Template.data = code, base, p.Moved
	}
	return code, err
}

// inline makes the code of parts of which all but the first need no frame. The length of the entry
// code depends on what the code changes, and that, rarely, on its address.
func (g *unit) inline(base arch.Addr) ([]byte, error) {
	if len(g.parts) == 0 {
		return nil, nil
	}
	in, _, err := g.wrap(0)
	for range 4 {
		if err != nil {
			return nil, err
		}
		before := len(in)
		var body, out []byte
		for i, p := range g.parts {
			if g.codes[i], err = p.compile(base + arch.Addr(before+len(body))); err != nil {
				return nil, err
			}
			body = append(body, g.codes[i].Bytes...)
		}
		if in, out, err = g.wrap(len(body)); err == nil && len(in) == before {
			return slices.Concat(in, body, out), nil
		}
	}
	return nil, errors.New("compile: the way in does not settle")
}

// wrap makes the entry and exit for the parts' code, which has the given length. For code of a
// template that needs no frame, they have been made before.
func (g *unit) wrap(length int) (in, out []byte, err error) {
	p, c := &g.parts[0], g.codes[0]
	if len(g.parts) > 1 || p.Template == nil || !c.Bare() || p.Way.Own.Used() {
		return g.makeWay(length)
	}
	key := wayKey{p.Way, c.Clobbers, c.Flags, c.Claims}
	key.way.PC, key.way.FuncIP, key.way.Cookie = 0, 0, 0
	made, ok := p.Template.ways[key]
	if !ok {
		if made.in, made.out, err = g.makeWay(length); err != nil {
			return nil, nil, err
		}
		if p.Template.ways == nil {
			p.Template.ways = map[wayKey]inOut{}
		}
		p.Template.ways[key] = made
	}
	return made.in, made.out, nil
}

func (g *unit) makeWay(length int) (in, out []byte, err error) {
	whole := *g.codes[0]
	for _, c := range g.codes[1:] {
		whole.Clobbers |= c.Clobbers
		whole.Flags, whole.Claims = whole.Flags || c.Flags, whole.Claims || c.Claims
	}
	way := amd64.Way
	if g.parts[0].Result.Context.Arch == "arm64" {
		way = arm64.Way
	}
	return way(&whole, &g.parts[0].Way, length)
}
