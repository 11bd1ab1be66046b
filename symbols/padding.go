package symbols

import (
	"bytes"
	"sort"

	"github.com/ptracer/ptracer/arch"
)

// Padding lists the places in [from, to) at which n bytes of padding between functions
// begin that consist of traps, none of which overlap: nothing ever comes there. Only
// what is behind an instruction that never goes on is padding, up to the next
// function's start. Places next to a function come last: a jump of n bytes in place of
// its last instruction may want them.
func (f *File) Padding(isa arch.ISA, from, to arch.Addr, n int) (places []arch.Addr) {
	var next []arch.Addr
	size := arch.Addr(n)
	fns, err := f.Functions()
	l := f.landings(isa)
	if err != nil || l.err != nil {
		return nil
	}
	i := sort.Search(len(fns), func(i int) bool { return fns[i].Addr >= from })
	for i = max(i-1, 0); i+1 < len(fns) && fns[i].Addr < to; i++ {
		start, end, ok := f.gap(isa, fns[i], fns[i+1].Addr)
		if !ok {
			continue
		}
		if led := between(l.targets, start, end); led != 0 { // a trap that is meant
			end = led
		}
		for at := min(end, to); at >= max(start, from)+size; {
			if at -= size; at >= start+size-1 {
				places = append(places, at)
			} else {
				next = append(next, at)
			}
		}
	}
	return append(places, next...)
}

// gap is the traps between a function and the next one's start.
func (f *File) gap(isa arch.ISA, fn Function, next arch.Addr) (start, end arch.Addr, ok bool) {
	if next <= fn.Addr || next-fn.Addr > maxFunction {
		return 0, 0, false
	}
	code := make([]byte, next-fn.Addr)
	list, err := f.disassemble(isa, Range{fn.Addr, next})
	if err != nil || len(list) == 0 || f.Text(fn.Addr, code) != nil {
		return 0, 0, false
	}
	last := list[len(list)-1]
	switch last.Kind {
	case arch.KindJump, arch.KindJumpIndirect, arch.KindReturn, arch.KindInvalid:
	default: // behind a call traps may be meant
		return 0, 0, false
	}
	start = max(last.addr+arch.Addr(last.Len), fn.Addr)
	trap := isa.Trap()
	padding := bytes.Repeat(trap, int(next-start)/len(trap))
	return start, next, start < next && bytes.Equal(code[start-fn.Addr:], padding)
}
