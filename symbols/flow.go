package symbols

import (
	"cmp"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// Flow says how control moves between the instructions of a function, as far as the code tells: a
// jump through a table may lead to each instruction that no other one goes on to.
type Flow struct {
	entry arch.Addr
	code  code              // of all parts, by ascending addresses
	loose []arch.Addr       // where an indirect jump may lead
	index map[arch.Addr]int // of each instruction in code
}

// ReadFlow disassembles a function, cold parts included.
func ReadFlow(f *File, isa arch.ISA, fn Function) (*Flow, error) {
	parts, err := f.Parts(isa, fn)
	if err != nil {
		return nil, err
	}
	w := &Flow{entry: fn.Addr, index: map[arch.Addr]int{}}
	for _, part := range parts {
		list, err := f.disassemble(isa, part)
		if err != nil {
			return nil, err
		}
		w.code = append(w.code, list...)
	}
	slices.SortStableFunc(w.code, func(a, b instruction) int { return cmp.Compare(a.addr, b.addr) })
	for i, in := range w.code {
		w.index[in.addr] = i
		if i == 0 || !continues(w.code[i-1].Kind) || w.code[i-1].addr+arch.Addr(w.code[i-1].Len) != in.addr {
			w.loose = append(w.loose, in.addr)
		}
	}
	return w, nil
}

// continues reports whether the instruction behind may be executed next, or later: a call returns.
func continues(k arch.Kind) bool {
	switch k {
	case arch.KindJump, arch.KindJumpIndirect, arch.KindReturn, arch.KindInvalid:
		return false
	}
	return true
}

// Distinct returns those of some instructions, by ascending addresses, at which hits are counted
// together to count the executions of a statement that they are copies or parts of: each that the
// program can come to from the function's entry, or from the instruction itself again, without passing
// another one of them. What is left out is executed when another one was. An instruction that is not
// of the function is never left out.
func (w *Flow) Distinct(list []arch.Addr) []arch.Addr {
	var keep []arch.Addr
	for _, a := range list {
		if _, ok := w.index[a]; !ok || w.reaches([]arch.Addr{w.entry}, a, list) {
			keep = append(keep, a)
		}
	}
	for _, a := range list {
		if !slices.Contains(keep, a) && w.reaches(w.next(a), a, keep) {
			keep = append(keep, a)
		}
	}
	slices.Sort(keep)
	return keep
}

// reaches reports whether the program can come from one of some instructions to another one, without
// passing any of those to avoid.
func (w *Flow) reaches(from []arch.Addr, to arch.Addr, avoid []arch.Addr) bool {
	seen := make([]bool, len(w.code))
	for todo := slices.Clone(from); len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at == to {
			return true
		}
		i, ok := w.index[at]
		if !ok || seen[i] || slices.Contains(avoid, at) {
			continue
		}
		seen[i] = true
		todo = append(todo, w.next(at)...)
	}
	return false
}

// next are the instructions of the function that may be executed next.
func (w *Flow) next(at arch.Addr) (list []arch.Addr) {
	i, ok := w.index[at]
	if !ok {
		return nil
	}
	in := w.code[i]
	if continues(in.Kind) {
		list = append(list, in.addr+arch.Addr(in.Len))
	}
	switch in.Kind {
	case arch.KindJump, arch.KindBranch:
		list = append(list, in.Target)
	case arch.KindJumpIndirect:
		list = append(list, w.loose...)
	}
	return list
}
