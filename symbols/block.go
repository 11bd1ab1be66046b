package symbols

import (
	"sync"

	"github.com/ptracer/ptracer/arch"
)

// lastCode is the function whose instructions were looked at last: its exits are
// asked for one after the other.
type lastCode struct {
	mu   sync.Mutex
	fn   arch.Addr
	list []instruction
}

// Block are the starts of the instructions through which the program comes to the
// one at vaddr one after the other, nearest first: up to most bytes before it, in
// the same part of a function, behind the last that goes elsewhere for certain.
// Whether others lead there, too, is Undisturbed's to say.
func (f *File) Block(isa arch.ISA, vaddr arch.Addr, most int) (starts []arch.Addr) {
	fn, ok := f.FunctionAt(vaddr)
	if !ok {
		return nil
	}
	l := &f.last
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fn != fn.Addr || l.list == nil {
		list, err := f.disassemble(isa, Range{fn.Addr, fn.End()})
		if err != nil {
			return nil
		}
		l.fn, l.list = fn.Addr, list
	}
	i := 0
	for i < len(l.list) && l.list[i].addr < vaddr {
		i++
	}
	if i == len(l.list) || l.list[i].addr != vaddr {
		return nil
	}
	for next := vaddr; i > 0; {
		i--
		in := l.list[i]
		if in.addr+arch.Addr(in.Len) != next || vaddr-in.addr > arch.Addr(most) || !goesOn(in.Kind) {
			break
		}
		starts = append(starts, in.addr)
		next = in.addr
	}
	return starts
}

// goesOn reports whether the instruction behind may be executed next, and is
// where nothing but this one returns to.
func goesOn(k arch.Kind) bool {
	return k == arch.KindOther || k == arch.KindNop || k == arch.KindBranch
}
