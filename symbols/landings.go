package symbols

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/mangled"
)

// landings are the places in a file's code that something leads to.
type landings struct {
	once     sync.Once
	targets  places      // of direct jumps, branches and calls, and functions' starts
	conds    places      // of conditional jumps
	tabled   []arch.Addr // of jumps by tables, and what looks so, ascending
	indirect bool        // there are jumps to where a register or an indexed table says
	data     []arch.Addr // addresses that instructions compute relative to themselves, ascending
	err      error
}

// places are addresses of a file, which may have a million of them: distances from its
// first one, ascending once they are in order. What is 4 GiB away is none of the file's.
type places struct {
	first arch.Addr
	at    []uint32
}

func (p *places) add(a arch.Addr) {
	if d := a - p.first; d <= math.MaxUint32 {
		p.at = append(p.at, uint32(d))
	}
}

// order has each of them once, in no more memory than it takes.
func (p *places) order() {
	slices.Sort(p.at)
	p.at = slices.Clone(slices.Compact(p.at))
}

// between is the first one in [from, to), 0 if there is none.
func (p *places) between(from, to arch.Addr) arch.Addr {
	i, _ := slices.BinarySearchFunc(p.at, from, func(d uint32, from arch.Addr) int { return cmp.Compare(p.first+arch.Addr(d), from) })
	if i < len(p.at) && p.first+arch.Addr(p.at[i]) < to {
		return p.first + arch.Addr(p.at[i])
	}
	return 0
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
	if any := l.targets.between(vaddr+1, vaddr+arch.Addr(n)); any != 0 {
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
		if _, cold := mangled.Cold(name); cold {
			return true
		}
	}
	return f.landings(isa).conds.between(fn.Addr, fn.Addr+1) != 0
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

// landings disassembles all code of the file, once.
func (f *File) landings(isa arch.ISA) *landings {
	l := &f.lands
	l.once.Do(func() {
		fns, err := f.Functions()
		if err == nil {
			err = l.survey(f, isa, fns)
		}
		if err != nil {
			l.targets, l.tabled, l.conds, l.data = places{}, nil, places{}, nil
			l.err = fmt.Errorf("%s: branches in its code: %w", f.name, err)
		}
	})
	return l
}

func (l *landings) survey(f *File, isa arch.ISA, fns []Function) error {
	starts := make([]arch.Addr, 0, len(fns))
	for _, fn := range fns {
		starts = append(starts, fn.Addr)
	}
	slices.Sort(starts)
	l.targets.first, _ = f.obj.Extent()
	l.conds.first = l.targets.first
	left := uint64(maxText)
	for _, s := range f.obj.Code {
		if err := l.sweep(f.obj, isa, s, starts, &left); err != nil {
			return err
		}
	}
	slices.Sort(l.data)
	l.data = slices.Clone(slices.Compact(l.data))
	if isa.MinInst() == 1 { // else jumps displace one instruction
		t := tables{o: f.obj, function: f.FunctionAt}
		if err := t.collect(l.data); err != nil {
			return err
		}
		slices.Sort(t.targets)
		l.tabled = slices.Clone(slices.Compact(t.targets))
	}
	for _, a := range starts { // they are called through pointers
		l.targets.add(a)
	}
	l.targets.order()
	l.conds.order()
	return f.obj.Budget.Keep(addrSize * uint64(len(l.targets.at)+len(l.tabled)+len(l.conds.at)+len(l.data)))
}

// maxText is how much code of a file is disassembled.
const maxText = 1 << 29

// addrSize is what an address takes of memory.
const addrSize = 8

// sweep disassembles a segment. Where a function starts the decoder starts anew, so that
// data between functions mislead it no further.
func (l *landings) sweep(o *elffile.Object, isa arch.ISA, s elffile.Segment, starts []arch.Addr, left *uint64) error {
	d := decoder{isa: isa, starts: starts}
	d.next, _ = slices.BinarySearch(starts, arch.Addr(s.Vaddr))
	return o.Windows(s.Off, s.Filesz, uint64(isa.MaxInst()-1), left, func(off uint64, b []byte, n int) error {
		d.decode(arch.Addr(s.Vaddr+off-s.Off), b, n, l.add)
		if len(l.targets.at)+len(l.conds.at)+len(l.data) > elffile.MaxKept/addrSize {
			return elffile.ErrBudget
		}
		return nil
	})
}

// add notes where an instruction leads to.
func (l *landings) add(in arch.Inst) {
	if in.Data != 0 {
		l.data = append(l.data, in.Data)
	}
	switch in.Kind {
	case arch.KindJump, arch.KindBranch, arch.KindCall:
		l.targets.add(in.Target)
		if in.Kind == arch.KindBranch {
			l.conds.add(in.Target)
		}
	case arch.KindJumpIndirect:
		l.indirect = l.indirect || in.Table
	}
}

// decoder goes through code, window by window.
type decoder struct {
	isa    arch.ISA
	starts []arch.Addr // of functions, ascending
	next   int         // of starts
	at     arch.Addr   // behind the last instruction
}

// decode hands over the instructions that begin in the first n bytes of a window of code.
func (d *decoder) decode(base arch.Addr, code []byte, n int, yield func(arch.Inst)) {
	if d.at < base || d.at >= base+arch.Addr(d.isa.MaxInst()) { // what is between is a hole
		d.at = base
	}
	for end := base + arch.Addr(n); d.at < end; {
		for d.next < len(d.starts) && d.starts[d.next] <= d.at {
			d.next++
		}
		in, err := d.isa.Decode(code[d.at-base:], d.at)
		if err != nil || in.Len <= 0 {
			d.at += arch.Addr(d.isa.MinInst())
			continue
		}
		yield(in)
		behind := d.at + arch.Addr(in.Len)
		if d.next < len(d.starts) && d.starts[d.next] < behind {
			behind = d.starts[d.next]
		}
		d.at = behind
	}
}
