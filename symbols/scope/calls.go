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

// hiddenResult reports whether the first register has the address of the result.
func (s *Scope) hiddenResult(fn dwarf.Entry, p *passing) (bool, error) {
	if p.golang || !p.amd64 && !p.rust {
		return false, nil // arm64 has a register of its own for it
	}
	t, err := s.of.types.Of(fn)
	if err != nil || t.Kind == types.Void {
		return false, err
	}
	c, err := p.classes(t)
	return (c.memory || c.pointer) && p.amd64, err
}

// passing assigns arguments, one after the other, to registers and the stack.
type passing struct {
	amd64, golang, rust, onStack bool
	hidden                       bool
	lost                         bool    // where an argument is, and so all behind it, is not known
	ints, floats                 []int64 // DWARF numbers of registers
	i, f                         int     // how many are used
	stack                        int64   // where the next argument on the stack is, from the stack pointer
	sp                           int64   // DWARF number
}

// passing returns the convention of the scope's function.
func (s *Scope) passing() (*passing, error) {
	p := &passing{amd64: s.of.isa.MinInst() == 1, golang: s.isGo(), rust: s.isRust(), onStack: s.calls == arch.GoStack, sp: 31}
	if s.calls == arch.NotKnown {
		return nil, fmt.Errorf("%w: nothing says how the function is called", ErrUnknown)
	}
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

// begin goes to the first argument.
func (p *passing) begin() {
	if p.hidden {
		p.i++
	}
}

// results makes p assign results.
func (p *passing) results() {
	if p.amd64 && !p.golang {
		p.ints = []int64{0, 1} // rax, rdx
		p.floats = p.floats[:2]
	} else if !p.golang {
		p.ints = p.ints[:min(2, len(p.ints))]
	}
}

// result returns where a result of a type is.
func (p *passing) result(t *types.Type) ([]op.Piece, string) {
	if p.onStack {
		return nil, "results lie behind the arguments on the stack"
	}
	c, err := p.classes(t)
	if err != nil {
		return nil, err.Error()
	}
	if c.memory || c.pointer {
		switch {
		case p.golang:
			return nil, "the result lies on the stack"
		case p.amd64:
			return []op.Piece{{Kind: op.Memory, Term: &op.Term{Kind: op.Reg, N: p.ints[0]}}}, ""
		}
		return nil, "the result lies where only the caller knows"
	}
	pieces, ok := p.registers(c)
	if !ok {
		return nil, "the result is in no register that is known"
	}
	return pieces, ""
}

// next returns where the next argument is.
func (p *passing) next(t *types.Type) ([]op.Piece, string) {
	c, err := p.classes(t)
	if err != nil {
		return nil, err.Error()
	}
	if c.size == 0 {
		return []op.Piece{{Kind: op.Bytes}}, ""
	}
	if c.pointer {
		if len(p.ints) > p.i {
			p.i++
			return []op.Piece{{Kind: op.Memory, Term: &op.Term{Kind: op.Reg, N: p.ints[p.i-1]}}}, ""
		}
		at := p.pushed(8, 8)
		return []op.Piece{{Kind: op.Memory, Term: &op.Term{Kind: op.Deref, Size: 8, X: at}}}, ""
	}
	if p.lost = p.lost || c.unknown; p.lost {
		return nil, "how Rust passes it, or an argument before it, is not known"
	}
	if p.rust {
		return p.each(c), ""
	}
	if !c.memory && !p.onStack {
		if pieces, ok := p.registers(c); ok {
			return pieces, ""
		}
	}
	align := c.align
	if !p.golang {
		align = max(align, 8)
	}
	return []op.Piece{{Kind: op.Memory, Term: p.pushed(c.size, align)}}, ""
}

// each assigns the parts of a value as if each were an argument: Rust's way.
func (p *passing) each(c class) (list []op.Piece) {
	at := int64(0)
	for _, one := range c.parts {
		if one.at > at {
			list = append(list, op.Piece{Kind: op.Gone, Size: one.at - at})
		}
		at = one.at + one.size
		own := class{parts: []part{{size: one.size, float: one.float}}, size: one.size}
		if pieces, ok := p.registers(own); ok {
			list = append(list, pieces...)
			continue
		}
		list = append(list, op.Piece{Kind: op.Memory, Term: p.pushed(one.size, 8), Size: one.size})
	}
	if at < c.size {
		list = append(list, op.Piece{Kind: op.Gone, Size: c.size - at})
	}
	return list
}

// pushed is the address of the next argument on the stack.
func (p *passing) pushed(size, align int64) *op.Term {
	base := int64(0)
	if p.amd64 || p.golang {
		base = 8 // the return address; Go on arm64 has one word for the link register
	}
	p.stack = (p.stack-base+align-1)/align*align + base
	at := p.stack
	if p.golang {
		p.stack += size
	} else {
		p.stack += (size + 7) / 8 * 8
	}
	return &op.Term{Kind: op.Add, X: &op.Term{Kind: op.Reg, N: p.sp}, Y: &op.Term{Kind: op.Const, N: at}}
}

// registers takes the registers of a value, all or none.
func (p *passing) registers(c class) ([]op.Piece, bool) {
	i, f := p.i, p.f
	var list []op.Piece
	at := int64(0)
	if c.even && i%2 == 1 && !p.amd64 && !p.golang {
		i++
	}
	for _, part := range c.parts {
		regs, n := p.ints, &i
		if part.float {
			regs, n = p.floats, &f
		}
		if *n >= len(regs) {
			if !p.amd64 && !p.golang { // AAPCS64: what follows goes to the stack, too
				if part.float {
					p.f = len(p.floats)
				} else {
					p.i = len(p.ints)
				}
			}
			return nil, false
		}
		if part.at > at { // padding
			list = append(list, op.Piece{Kind: op.Gone, Size: part.at - at})
		}
		list = append(list, op.Piece{Kind: op.Register, Term: &op.Term{Kind: op.Reg, N: regs[*n]}, Size: part.size})
		at = part.at + part.size
		*n++
	}
	if at < c.size {
		list = append(list, op.Piece{Kind: op.Gone, Size: c.size - at})
	}
	p.i, p.f = i, f
	return list, true
}

// class says how a value is passed.
type class struct {
	parts       []part // in registers
	memory      bool   // on the stack
	pointer     bool   // its address is passed instead
	even        bool   // its first register has an even number (arm64)
	unknown     bool   // how it is passed depends on the compiler's version
	size, align int64
}

// part is what goes into one register.
type part struct {
	at, size int64
	float    bool
}

// classes classifies a type.
func (p *passing) classes(t *types.Type) (class, error) {
	t, err := t.Strip()
	if err != nil {
		return class{}, err
	}
	c := class{size: t.Size, align: 8}
	if t.Size < 0 {
		return c, fmt.Errorf("the size of %s is not known", t.Name)
	}
	if n, ok := t.Entry().Uint(sd.AttrCalling); ok && n == byReference {
		c.pointer, c.size = true, 8
		return c, nil
	}
	const most = 128 // bytes: Go passes more than 16 in registers
	var list []part
	if t.Size <= most {
		if list, err = leaves(nil, t, 0, 0); err != nil {
			return c, err
		}
	}
	if list == nil && t.Size > 0 {
		c.memory = true
	}
	c.align = 1
	for _, l := range list {
		c.align = max(c.align, min(l.size, 8))
	}
	switch {
	case p.rust:
		list, err = p.rustParts(t, list)
		if err != nil {
			return c, err
		}
		p.rustClass(&c, t, list)
	case p.golang:
		c.parts = list
		if t.Kind == types.Array && t.Count > 1 || hasArray(t, 0) {
			c.memory = true
		}
	case p.amd64:
		p.sysV(&c, t, list)
	default:
		p.aapcs(&c, t, list)
	}
	return c, nil
}

const byReference = 4 // DW_CC_pass_by_reference

// sysV classifies by the System V ABI for amd64: by eight bytes.
func (p *passing) sysV(c *class, t *types.Type, list []part) {
	if t.Size > 16 || c.memory || slices.ContainsFunc(list, func(l part) bool { return l.float && l.size > 8 }) {
		c.memory = true
		return
	}
	for at := int64(0); at < t.Size; at += 8 {
		one := part{at: at, size: min(8, t.Size-at), float: true}
		for _, l := range list {
			if l.at < at+8 && l.at+l.size > at && !l.float {
				one.float = false
			}
		}
		c.parts = append(c.parts, one)
	}
}

// aapcs classifies by the procedure call standard of arm64.
func (p *passing) aapcs(c *class, t *types.Type, list []part) {
	same := len(list) > 0 && len(list) <= 4
	for _, l := range list {
		same = same && l.float && l.size == list[0].size
	}
	switch {
	case same: // of one to four floats, each in a register of its own
		c.parts = list
	case c.memory || t.Size > 16:
		c.memory, c.pointer = false, true
	default:
		for at := int64(0); at < t.Size; at += 8 {
			c.parts = append(c.parts, part{at: at, size: min(8, t.Size-at)})
		}
		c.even = slices.ContainsFunc(list, func(l part) bool { return l.size == 16 })
	}
}

// rustClass classifies as Rust's compiler does for its own functions: one or two scalars in registers,
// values of more than two words by their address. Between these, versions differ.
func (p *passing) rustClass(c *class, t *types.Type, list []part) {
	c.memory = false
	switch {
	case len(list) == 1 || len(list) == 2 && list[1].at >= list[0].at+list[0].size:
		c.parts = list
	case t.Size > 16:
		c.pointer = true
	case t.Size > 0:
		c.unknown = true
	}
}

// rustParts are the scalars of a Rust value; none if it has variants that are not alike.
func (p *passing) rustParts(t *types.Type, list []part) ([]part, error) {
	v, err := t.Variants()
	if v == nil || err != nil || t.Size > 16 {
		return list, err
	}
	var tag, data []part
	if v.Tag != nil {
		of, err := v.Tag.Type()
		if err != nil {
			return nil, err
		}
		if tag, err = leaves(nil, of, v.Tag.Offset, 0); err != nil {
			return nil, err
		}
	}
	for i := range v.Variants {
		m := &v.Variants[i].Member
		if m.Entry().Tag() == 0 {
			continue
		}
		of, err := m.Type()
		if err != nil {
			return nil, err
		}
		own, err := leaves(nil, of, m.Offset, 0)
		switch {
		case err != nil:
			return nil, err
		case len(own) == 0:
		case data != nil && !slices.Equal(data, own):
			return nil, nil
		default:
			data = own
		}
	}
	if len(tag) == 1 && len(data) > 0 && data[0].at < tag[0].at+tag[0].size && tag[0].at < data[len(data)-1].at+data[len(data)-1].size {
		return data, nil // the tag is a niche of the data
	}
	if len(data) > 0 && len(tag) > 0 && data[0].at < tag[0].at {
		return append(data, tag...), nil
	}
	return append(tag, data...), nil
}

// leaves lists the scalars of a type, by their offsets.
func leaves(list []part, t *types.Type, at int64, depth int) ([]part, error) {
	t, err := t.Strip()
	if err != nil || depth > maxDepth || len(list) > 64 {
		return nil, err
	}
	switch t.Kind {
	case types.Struct, types.Union:
		members, err := t.Members()
		if err != nil {
			return nil, err
		}
		if v, err := t.Variants(); err != nil {
			return nil, err
		} else if v != nil { // overlapping members
			return []part{{at, min(8, t.Size), false}, {at, t.Size, false}}, nil
		}
		for _, m := range members {
			of, err := m.Type()
			if err != nil {
				return nil, err
			}
			if m.Offset < 0 {
				return nil, nil
			}
			if list, err = leaves(list, of, at+m.Offset, depth+1); err != nil {
				return nil, err
			}
		}
	case types.Array:
		elem, err := t.Elem()
		if err != nil || t.Count < 0 || t.Count > 64 || elem.Size < 0 {
			return nil, err
		}
		for i := range t.Count {
			if list, err = leaves(list, elem, at+i*elem.Size, depth+1); err != nil {
				return nil, err
			}
		}
	case types.Complex:
		list = append(list, part{at, t.Size / 2, true}, part{at + t.Size/2, t.Size / 2, true})
	default:
		if t.Size > 0 {
			list = append(list, part{at, t.Size, t.Kind == types.Float})
		}
	}
	return list, nil
}

// hasArray reports whether a Go type has an array of more than one element in it: such values are
// passed on the stack.
func hasArray(t *types.Type, depth int) bool {
	t, err := t.Strip()
	if err != nil || depth > maxDepth {
		return true
	}
	if t.Kind == types.Array {
		elem, err := t.Elem()
		return err != nil || t.Count > 1 || t.Count == 1 && hasArray(elem, depth+1)
	}
	if t.Kind != types.Struct {
		return false
	}
	members, err := t.Members()
	return err != nil || slices.ContainsFunc(members, func(m types.Member) bool {
		of, err := m.Type()
		return err != nil || hasArray(of, depth+1)
	})
}
