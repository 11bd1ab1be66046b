package symbols

import (
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/mangled"
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
	unnamed, err := f.unnamedParts(isa, own, list)
	return append(parts, unnamed...), err
}

// coldParts are the functions called NAME.cold or NAME.cold.N, of any name of
// fn: as many as there are functions of that name.
func (f *File) coldParts(fn Function) (cold []Function, err error) {
	if f.whole.Load() || f.lookups.Add(1) > manyLookups {
		t, err := f.table()
		for _, name := range fn.Names() {
			for _, i := range t.cold.of(name) {
				cold = append(cold, t.functions[i])
			}
		}
		return cold, err
	}
	addrs := map[uint64]bool{}
	for _, name := range fn.Names() {
		part := name + ".cold"
		accept := func(s string) bool { base, ok := mangled.Cold(s); return ok && base == name }
		err := f.each(func(s elffile.Source) error {
			return s.Named(part, false, accept, func(sym elffile.Symbol) { addrs[sym.Addr] = true })
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
	return f.jumps(isa, cold, own)
}

// jumps reports whether the code of one range jumps behind the start of
// another: to the start it would go to call it.
func (f *File) jumps(isa arch.ISA, from, to Range) bool {
	list, err := f.disassemble(isa, from)
	if err != nil {
		return false
	}
	for _, i := range list {
		if to.Contains(i.Target) && i.Target != to.Start && (i.Kind == arch.KindJump || i.Kind == arch.KindBranch) {
			return true
		}
	}
	return false
}

// unnamedParts does what coldParts does where names were stripped: code that
// own jumps to is a part of it if the unwinder knows it as a piece of code of
// its own, it has no name, and it can't be a function that is called: it is
// entered in its middle, with a frame on the stack, or by a conditional jump
// where no compiler aligns a function; or it jumps back.
func (f *File) unnamedParts(isa arch.ISA, own Range, list code) ([]Range, error) {
	found := map[uint64]bool{}
	var parts []Range
	for _, i := range list {
		if i.Kind != arch.KindJump && i.Kind != arch.KindBranch || own.Contains(i.Target) {
			continue
		}
		// The unwinder knows the stubs for other files' functions as one piece
		// of code; a jump there is a jump out.
		sec, ok := f.obj.SectionOf(uint64(i.Target))
		if !ok || elffile.IsPLT(sec.Name) {
			continue
		}
		fr, ok := f.frames().Find(uint64(i.Target))
		if !ok || found[fr.Start] || own.Contains(arch.Addr(fr.Start)) {
			continue
		}
		r := Range{arch.Addr(fr.Start), arch.Addr(fr.Start + fr.Size)}
		if i.Target > r.Start || fr.Midway || i.Kind == arch.KindBranch && r.Start%functionAlign != 0 || f.jumps(isa, r, own) {
			found[fr.Start] = true
			parts = append(parts, r)
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	named, err := f.functionsAt(found)
	if err != nil {
		return nil, err
	}
	for _, fn := range named {
		parts = slices.DeleteFunc(parts, func(r Range) bool { return r.Start == fn.Addr })
	}
	return parts, nil
}

// functionAlign is how compilers align functions that are not seldom called.
const functionAlign = 16
