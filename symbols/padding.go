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
		g := f.gap(isa, fns[i].Addr, fns[i+1].Addr)
		for at := min(g.End, to); at >= max(g.Start, from)+size; {
			if at -= size; at >= g.Start+size-1 {
				places = append(places, at)
			} else {
				next = append(next, at)
			}
		}
	}
	return append(places, next...)
}

// gap is the traps behind a function, in front of the next one's start.
func (f *File) gap(isa arch.ISA, fn, next arch.Addr) Range {
	if known, ok := f.gaps.Load(fn); ok {
		return known.(Range)
	}
	g := f.findGap(isa, fn, next)
	if led := between(f.landings(isa).targets, g.Start, g.End); led != 0 { // a trap that is meant
		g.End = led
	}
	f.gaps.Store(fn, g)
	return g
}

func (f *File) findGap(isa arch.ISA, fn, next arch.Addr) (none Range) {
	trap := isa.Trap()
	if next < fn+arch.Addr(len(trap)) || next-fn > maxFunction {
		return none
	}
	code := make([]byte, next-fn)
	if f.Text(fn, code) != nil || !bytes.HasSuffix(code, trap) {
		return none
	}
	list, err := f.disassemble(isa, Range{fn, next})
	if err != nil || len(list) == 0 {
		return none
	}
	last := list[len(list)-1]
	switch last.Kind {
	case arch.KindJump, arch.KindJumpIndirect, arch.KindReturn, arch.KindInvalid:
	default: // behind a call traps may be meant
		return none
	}
	end := last.addr + arch.Addr(last.Len)
	if !bytes.Equal(code[end-fn:], bytes.Repeat(trap, int(next-end)/len(trap))) {
		return none
	}
	return Range{end, next}
}
