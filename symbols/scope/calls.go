package scope

import (
	"cmp"
	sd "debug/dwarf"
	"fmt"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/dwarf/op"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
)

// Where arguments are at a function's entry, debug information often does not tell: compilers that do
// not optimise describe where the prologue puts them. The calling convention tells it.

// argument finds where an argument is at the function's entry.
func (s *Scope) argument(v *Variable, e dwarf.Entry) error {
	if of, ok := e.With(sd.AttrLocation); ok {
		expr, err := s.exprOf(of, sd.AttrLocation)
		if err != nil {
			return err
		}
		if len(expr) > 0 {
			if err := s.read(v, of, expr); err != nil {
				return err
			}
			if len(v.Pieces) > 0 && (s.tellsEntry(of) || inRegisters(v.Pieces)) {
				return s.completed(v, e)
			}
			v.Pieces = nil
		}
	} else if of, ok := e.With(sd.AttrConstValue); ok {
		val, _ := of.Val(sd.AttrConstValue)
		v.constant(val)
		return nil
	}
	v.Why = ""
	return s.passed(v, e)
}

// completed takes what the calling convention tells of an argument of which the compiler has described only
// the parts that the function uses.
func (s *Scope) completed(v *Variable, e dwarf.Entry) error {
	told := int64(0)
	for _, p := range v.Pieces {
		switch {
		case p.Kind == op.Gone:
		case p.Size == 0: // the whole
			return nil
		default:
			told += p.Size
		}
	}
	if told >= v.Type.Size {
		return nil
	}
	whole := *v
	if err := s.passed(&whole, e); err != nil {
		return err
	}
	if len(whole.Pieces) > 0 {
		v.Pieces = whole.Pieces
	}
	return nil
}

// inRegisters reports whether a value is in registers alone: what is at one place in the whole function is
// there already at its entry.
func inRegisters(pieces []op.Piece) bool {
	return !slices.ContainsFunc(pieces, func(p op.Piece) bool { return p.Kind != op.Register && p.Kind != op.Gone })
}

// tellsEntry reports whether the places of an argument differ by address: only then they are right
// before the prologue.
func (s *Scope) tellsEntry(e dwarf.Entry) bool {
	v, ok := e.Val(sd.AttrLocation)
	if !ok {
		return false
	}
	_, fixed := v.Block()
	return !fixed
}

// passed finds where the calling convention has an argument.
func (s *Scope) passed(v *Variable, e dwarf.Entry) error {
	if why := cmp.Or(s.ownConvention(), s.mayChange()); why != "" {
		v.Why = why
		return nil
	}
	p, err := s.passing()
	if err != nil {
		return err
	}
	fn := s.chain[0]
	if p.hidden, err = s.hiddenResult(fn, p); err != nil {
		return err
	}
	p.begin()
	found := false
	var inner error
	err = fn.Children(func(a dwarf.Entry) bool {
		if a.Tag() != sd.TagFormalParameter || isResult(a) {
			return true
		}
		var t *types.Type
		if t, inner = s.of.types.Of(a); inner != nil {
			return false
		}
		pieces, why := p.next(t)
		if a.Offset() == e.Offset() {
			v.Pieces, v.Why, found = pieces, why, true
		}
		return !found
	})
	if inner != nil {
		err = inner
	}
	if err == nil && !found {
		v.Why = optimisedOut
	}
	return err
}

// ownConvention says why the function may not follow a calling convention, "" if it does: compilers
// change functions of which they know all callers, and take arguments away.
func (s *Scope) ownConvention() string {
	if fn, ok := s.of.file.FunctionAt(s.at); ok {
		for _, mark := range []string{".isra.", ".constprop.", ".part.", ".specialized."} {
			if strings.Contains(fn.Name, mark) {
				return "the compiler has changed how " + fn.Name + " is called"
			}
		}
	}
	if n, ok := s.chain[0].Uint(sd.AttrCalling); ok && n == callNone {
		return "the compiler has changed how the function is called"
	}
	return ""
}

const callNone = 3 // DW_CC_nocall

// mayChange says why the function's arguments may be elsewhere than its calling convention has them, "" if
// they may not. LLVM takes arguments and results away from optimised functions of which it knows all callers,
// and tells it neither in their names, as gcc does, nor always in debug information.
func (s *Scope) mayChange() string {
	if s.isGo() {
		return ""
	}
	fn, ok := s.of.file.FunctionAt(s.at)
	if _, gcc := s.of.src.Optimises(s.unit); !ok || !fn.Local || gcc || s.isPlain() {
		return ""
	}
	return "optimised out, or where only the compiler knows"
}

// isPlain reports whether the function's arguments are all at one place in memory each: it was not
// optimised.
func (s *Scope) isPlain() bool {
	plain, some := true, false
	err := s.chain[0].Children(func(e dwarf.Entry) bool {
		if e.Tag() != sd.TagFormalParameter {
			return true
		}
		some = true
		of, ok := e.With(sd.AttrLocation)
		plain = ok && !s.tellsEntry(of)
		if expr, err := s.exprOf(of, sd.AttrLocation); err == nil && plain {
			pieces, err := op.Read(expr, s.context(of.Unit()))
			plain = err == nil && all(pieces, op.Memory)
		}
		return plain
	})
	if optimised, _ := s.of.src.Optimises(s.unit); !some && optimised {
		return false
	}
	return plain && err == nil
}

// Result returns the function's result number i at its exits: where the calling convention leaves it.
// Only Go has more than one.
func (s *Scope) Result(i int) (*Variable, error) {
	if !s.Tells() {
		return nil, fmt.Errorf("ret is %w: nothing tells what the function returns", ErrUnknown)
	}
	p, err := s.passing()
	if err != nil {
		return nil, err
	}
	list, err := s.results(s.chain[0])
	if err != nil {
		return nil, err
	}
	if i >= len(list) {
		return nil, fmt.Errorf("result %d is %w: %s has %d", i, ErrUnknown, s.Function(), len(list))
	}
	v := &Variable{Name: "ret", Type: list[i], Param: true}
	if v.Why = s.ownConvention(); v.Why != "" {
		return v, nil
	}
	p.results()
	for _, t := range list[:i+1] {
		v.Pieces, v.Why = p.result(t)
	}
	if v.Why == "" && v.Pieces[0].Kind == op.Register {
		v.Doubt = s.mayChange() // LLVM takes away a result that no caller uses
	}
	return v, nil
}

// results are the types of a function's results.
func (s *Scope) results(fn dwarf.Entry) (list []*types.Type, err error) {
	if !s.isGo() {
		t, err := s.of.types.Of(fn)
		if err != nil || t.Kind == types.Void {
			return nil, err
		}
		return []*types.Type{t}, nil
	}
	var inner error
	err = fn.Children(func(e dwarf.Entry) bool {
		if e.Tag() == sd.TagFormalParameter && isResult(e) {
			var t *types.Type
			t, inner = s.of.types.Of(e)
			list = append(list, t)
		}
		return inner == nil
	})
	if inner != nil {
		err = inner
	}
	return list, err
}

func (s *Scope) isGo() bool { return s.calls == arch.GoRegisters || s.calls == arch.GoStack }

// Languages of units that matter here (DW_LANG_).
const (
	langRust      = 0x1c
	langAssembler = 0x8001
)

func (s *Scope) isRust() bool { return s.language() == langRust }

// language is that of the scope's unit, 0 if it is not known.
func (s *Scope) language() uint64 {
	root, err := s.unit.Root()
	if err != nil {
		return 0
	}
	n, _ := root.Uint(sd.AttrLanguage)
	return n
}

// Tells reports whether debug information tells what the function's arguments and results are: it is not
// written in assembly.
func (s *Scope) Tells() bool {
	return len(s.chain) > 0 && (s.calls == arch.C || s.calls == arch.GoRegisters) && s.language() != langAssembler
}

// hiddenResult reports whether the first register has the address of the result. If that is not known, it is
// not known of any argument where it is.
func (s *Scope) hiddenResult(fn dwarf.Entry, p *passing) (bool, error) {
	if p.golang || !p.amd64 && !p.rust {
		return false, nil // arm64 has a register of its own for it
	}
	t, err := s.of.types.Of(fn)
	if err != nil || t.Kind == types.Void {
		return false, err
	}
	c, err := p.classes(t)
	p.lost = c.unknown
	return (c.memory && !c.x87 || c.pointer) && p.amd64, err
}

// passing returns the convention of the scope's function.
func (s *Scope) passing() (*passing, error) {
	p := &passing{amd64: s.of.isa.MinInst() == 1, golang: s.isGo(), rust: s.isRust(), onStack: s.calls == arch.GoStack, sp: 31}
	if s.calls == arch.NotKnown {
		return nil, fmt.Errorf("%w: nothing says how the function is called", ErrUnknown)
	}
	_, gcc := s.of.src.Optimises(s.unit)
	p.llvm = !gcc && !p.golang
	for i := 0; ; i++ {
		word, ok := s.of.isa.ArgReg(s.calls, i)
		if !ok {
			break
		}
		if n, ok := s.dwarfOf(word); ok {
			p.ints = append(p.ints, n)
		}
	}
	first, n := int64(64), 8 // v0
	switch {
	case p.amd64 && p.golang:
		first, n = 17, 15
	case p.amd64:
		first = 17 // xmm0
	case p.golang:
		n = 16
	}
	for i := range n {
		p.floats = append(p.floats, first+int64(i))
	}
	if p.amd64 {
		p.sp, p.stack = 7, 8
	}
	if p.golang {
		p.stack = 8
	}
	return p, nil
}

// dwarfOf is the DWARF number of a register's word.
func (s *Scope) dwarfOf(word int) (int64, bool) {
	for n := range 40 {
		if w, ok := s.of.isa.DwarfReg(n); ok && w == word {
			return int64(n), true
		}
	}
	return 0, false
}
