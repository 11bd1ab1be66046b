package symbols

import (
	"strings"

	"github.com/ptracer/ptracer/arch"
)

// Parts are the ranges of code that fn is made of: its own, and the ones that
// compilers move far away because they are seldom run (NAME.cold). A jump
// among them is no exit.
func (f *File) Parts(isa arch.ISA, fn Function) ([]Range, error) {
	own := Range{fn.Addr, fn.End()}
	list, err := f.disassemble(isa, own)
	if err != nil {
		return nil, err
	}
	parts := []Range{own}
	cold, err := f.coldParts(fn)
	if err != nil {
		return nil, err
	}
	for _, c := range cold {
		r := Range{c.Addr, c.End()}
		if f.linked(isa, own, list, r, len(cold) == 1) {
			parts = append(parts, r)
		}
	}
	return append(parts, f.unnamedParts(own, list)...), nil
}

// coldParts are the functions called NAME.cold or NAME.cold.N, of any name of
// fn: as many as there are functions of that name.
func (f *File) coldParts(fn Function) (cold []Function, err error) {
	addrs := map[uint64]bool{}
	for _, name := range fn.Names() {
		part := name + ".cold"
		accept := func(s string) bool { return s == part || strings.HasPrefix(s, part+".") }
		err := f.each(func(s source) error {
			return s.named(part, false, accept, func(sym symbol) { addrs[sym.addr] = true })
		})
		if err != nil {
			return nil, err
		}
	}
	return f.functionsAt(addrs)
}

// linked reports whether a cold part belongs to the function whose code is
// given: one jumps into the other. A part that is called is a function of its
// own (LLVM outlines those).
func (f *File) linked(isa arch.ISA, own Range, list code, cold Range, only bool) bool {
	jumps := false
	for _, i := range list {
		if !cold.Contains(i.Target) {
			continue
		}
		if i.Kind == arch.KindCall {
			return false
		}
		jumps = jumps || i.Kind == arch.KindJump || i.Kind == arch.KindBranch
	}
	if jumps || only {
		return true
	}
	back, err := f.disassemble(isa, cold)
	if err != nil {
		return false
	}
	for _, i := range back {
		if own.Contains(i.Target) && (i.Kind == arch.KindJump || i.Kind == arch.KindBranch) {
			return true
		}
	}
	return false
}
