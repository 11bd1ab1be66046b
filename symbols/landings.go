package symbols

import (
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ptracer/ptracer/arch"
)

// landings are the places in a file's code that something leads to.
type landings struct {
	once     sync.Once
	targets  []arch.Addr // of direct jumps, branches and calls, and functions' starts, ascending
	tabled   []arch.Addr // of jumps by tables, and what looks so, ascending
	conds    []arch.Addr // of conditional jumps, ascending
	indirect bool        // there are jumps to where a register or an indexed table says
	data     []arch.Addr // addresses that instructions compute relative to themselves, ascending
	err      error
}

// Errors of Undisturbed.
var (
	ErrTarget = errors.New("a branch leads behind its start")
	ErrTable  = errors.New("its function may jump behind its start to a place that it computes")
	ErrNoFunc = errors.New("in no function that is known")
)

// Undisturbed is nil if nothing but the instruction before it leads to any
// place in the n bytes behind the start at vaddr, which are those of an
// instruction and of those at inner. The proof: no direct jump, branch or call of
// the file goes there; no table leads to any of inner (to the middle of an
// instruction none does: what looks so is none); and where functions jump to
// where a register says, no address of a place in this one is taken, from which
// another could be computed. Return addresses and landing
// pads of exceptions are no concern: the former lie behind calls, and nothing
// goes on into the latter, while an instruction before the last of what is
// displaced does. Tables of jumps are read, of whatever function: see tables.
func (f *File) Undisturbed(isa arch.ISA, vaddr arch.Addr, n int, inner []arch.Addr) error {
	l := f.landings(isa)
	if l.err != nil {
		return l.err
	}
	if any := between(l.targets, vaddr+1, vaddr+arch.Addr(n)); any != 0 {
		return fmt.Errorf("%w: to %v", ErrTarget, any)
	}
	if len(inner) == 0 {
		return nil
	}
	for _, at := range inner {
		if _, found := slices.BinarySearch(l.tabled, at); found {
			return fmt.Errorf("%w: to %v, by a table", ErrTarget, at)
		}
	}
	fn, ok := f.FunctionAt(vaddr)
	if !ok {
		return ErrNoFunc
	}
	if taken := between(l.data, fn.Addr+1, fn.End()); taken != 0 && l.indirect {
		return fmt.Errorf("%w: at %v", ErrTable, taken)
	}
	return nil
}

// Continues says whether a function is the continuation of another one: a part
// that was moved far away, or that a conditional jump leads to. Unlike a function
// that is called, it may find flags that mean something.
func (f *File) Continues(isa arch.ISA, fn Function) bool {
	for _, name := range fn.Names() {
		if _, cold := coldOf(name); cold {
			return true
		}
	}
	_, found := slices.BinarySearch(f.landings(isa).conds, fn.Addr)
	return found
}

// between is the first of list in [from, to), 0 if there is none.
func between(list []arch.Addr, from, to arch.Addr) arch.Addr {
	i, _ := slices.BinarySearch(list, from)
	if i < len(list) && list[i] < to {
		return list[i]
	}
	return 0
}

// Survey does the work that Undisturbed needs done once, now: a third of a
// second for a million instructions.
func (f *File) Survey(isa arch.ISA) { f.landings(isa) }

// landings disassembles all code of the file, once. Where a function starts the
// decoder starts anew, so that data between functions mislead it no further.
func (f *File) landings(isa arch.ISA) *landings {
	l := &f.lands
	l.once.Do(func() {
		fns, err := f.Functions()
		if err != nil {
			l.err = err
			return
		}
		t := tables{function: f.FunctionAt}
		starts := make([]arch.Addr, 0, len(fns))
		for _, fn := range fns {
			starts = append(starts, fn.Addr)
		}
		slices.Sort(starts)
		for _, s := range f.obj.segments {
			if s.typ != elf.PT_LOAD || s.flags&elf.PF_X == 0 || s.filesz > maxText {
				continue
			}
			code := make([]byte, s.filesz)
			if err := f.Text(arch.Addr(s.vaddr), code); err != nil {
				l.err = err
				return
			}
			c := chunk{arch.Addr(s.vaddr), code}
			t.code = append(t.code, c)
			l.sweep(isa, c, starts)
		}
		slices.Sort(l.data)
		l.data = slices.Compact(l.data)
		if isa.MinInst() == 1 { // else jumps displace one instruction
			if l.err = t.collect(f.obj, l.data); l.err != nil {
				return
			}
			slices.Sort(t.targets)
			l.tabled = slices.Compact(t.targets)
		}
		l.targets = append(l.targets, starts...) // they are called through pointers
		slices.Sort(l.targets)
		l.targets = slices.Compact(l.targets)
		slices.Sort(l.conds)
	})
	return l
}

// maxText is the largest segment that is disassembled.
const maxText = 1 << 29

// chunk is a piece of a file's code.
type chunk struct {
	addr arch.Addr
	code []byte
}

func (l *landings) sweep(isa arch.ISA, c chunk, starts []arch.Addr) {
	next, _ := slices.BinarySearch(starts, c.addr)
	for off := 0; off < len(c.code); {
		at := c.addr + arch.Addr(off)
		for next < len(starts) && starts[next] <= at {
			next++
		}
		in, err := isa.Decode(c.code[off:], at)
		if err != nil || in.Len <= 0 {
			off += isa.MinInst()
			continue
		}
		if in.Data != 0 {
			l.data = append(l.data, in.Data)
		}
		switch in.Kind {
		case arch.KindJump, arch.KindBranch, arch.KindCall:
			l.targets = append(l.targets, in.Target)
			if in.Kind == arch.KindBranch {
				l.conds = append(l.conds, in.Target)
			}
		case arch.KindJumpIndirect:
			l.indirect = l.indirect || in.Table
		}
		if end := at + arch.Addr(in.Len); next < len(starts) && starts[next] < end {
			off = int(starts[next] - c.addr)
			continue
		}
		off += in.Len
	}
}
