package plan

import (
	"errors"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Machine writes machine code for the operations that a Writer passes it.
type Machine interface {
	// Layout completes function f's frame; it is called once.
	Layout(f int)
	// Enter and Leave write the beginning and end of the current function.
	Enter()
	Leave()
	// Operation writes operation i.
	Operation(i int)
	// Address sets a register to the address of a place.
	Address(r uint8, m Mem)
	// Branch jumps to a label.
	Branch(label int)
	// Link writes the distances of jumps; it returns false if one does not fit.
	Link() bool
}

// Writer goes through a plan for a Machine, which embeds it, and keeps functions, labels, and what
// the code changes. It makes several passes, since the code depends on what all of it changes.
type Writer struct {
	*Plan
	Code []byte
	// Labels are the offsets of labels, -1 if not yet known: one for each operation, two for each
	// function, then the Machine's own. Old are those of the pass before, once only distances can
	// still change, so that code only gets shorter; it is nil before.
	Labels, Old []int
	Frames      []Frame
	Fn          int   // the current function
	Read, Wrote Words // words of the frame
	Flags       bool  // flags have changed in this pass
	Flagged     bool  // and in the pass before
	Calls       bool
	Claims      bool

	changed []Words // in this pass so far, by function
	before  []Words // in the whole of the pass before, by function
}

// Frame is a function's stack. From the stack pointer up it has the words of loops (LoopBytes),
// padding, the program's stack, and what the Machine saves for the caller.
type Frame struct {
	Called bool
	Size   int     // from the stack pointer to the end of the program's stack
	Total  int     // all of it, including what the Machine saves
	Kept   []uint8 // those of R6 to R9 that are saved for the caller
	Calls  bool    // it calls something
}

// Words of a loop at the bottom of its function's stack, as offsets from the stack pointer.
const (
	LoopCount = 0  // rounds so far
	LoopLimit = 8  // rounds to make
	LoopArg   = 16 // the argument for the function
	LoopCode  = 24 // the function's address, if it is not known
	LoopBytes = 32
)

// NewWriter returns a Writer of p.
func NewWriter(p *Plan) Writer {
	n := len(p.Funcs)
	return Writer{Plan: p, Frames: make([]Frame, n), changed: make([]Words, n), before: make([]Words, n)}
}

// frameOf returns the part of function f's frame that does not depend on the machine.
func (w *Writer) frameOf(f int) (l Frame) {
	fn := &w.Funcs[f]
	l.Called, l.Size = f > 0 || w.Target.Called, fn.Stack
	loops, defines := 0, uint16(0)
	for i := fn.Start; i < fn.End; i++ {
		o := &w.Ops[i]
		defines |= o.Defines()
		switch o.Kind {
		case Call, CallFunc:
			l.Calls = true
		case Repeat:
			l.Calls, loops = true, LoopBytes
		}
	}
	l.Size += loops
	for r := uint8(program.R6); (f > 0 || w.Target.Helper) && r <= program.R9; r++ {
		if defines&bit(r) != 0 {
			l.Kept = append(l.Kept, r)
		}
	}
	return l
}

// maxPasses is how often the code is written at most; three or four passes are usual.
const maxPasses = 16

// Run writes the code with m until it does not change any more: first until it is known what the
// code changes, then until distances have settled.
func (w *Writer) Run(m Machine) (*Code, error) {
	for f := range w.Funcs {
		w.Frames[f] = w.frameOf(f)
		m.Layout(f)
	}
	length, settled := -1, false
	for range maxPasses {
		if !w.pass(m) {
			return nil, errors.New("compile: a jump is too long")
		}
		if settled && len(w.Code) == length {
			return w.result(), nil
		}
		settled = settled || w.settled()
		length = len(w.Code)
		if settled {
			w.Old = w.Labels
		}
	}
	return nil, errors.New("compile: the code does not settle")
}

// settled reports whether this pass has found the same as the one before, and makes it the one
// before.
func (w *Writer) settled() bool {
	same := w.Flags == w.Flagged
	for f := range w.changed {
		same = same && w.changed[f] == w.before[f]
	}
	copy(w.before, w.changed)
	w.Flagged = w.Flags
	return same
}

func (w *Writer) result() *Code {
	c := &Code{
		Bytes: w.Code, Clobbers: w.changed[0], Writes: w.Wrote, Reads: w.Read | w.Wrote,
		Flags: w.Flags, Calls: w.Calls, Claims: w.Claims, Stack: w.depth(0, map[int]int{}),
	}
	if !w.Target.Called {
		c.Locals = w.Frames[0].Size
	}
	return c
}

// depth is how many bytes of stack function f needs, including the functions that it calls. known
// has earlier results; a function that is being computed counts 0 in itself, since the verifier has
// refused recursion.
func (w *Writer) depth(f int, known map[int]int) int {
	if n, ok := known[f]; ok {
		return n
	}
	known[f] = 0
	most := 0
	for i := w.Funcs[f].Start; i < w.Funcs[f].End; i++ {
		o := &w.Ops[i]
		switch {
		case o.Kind != CallFunc && o.Kind != Repeat:
		case o.To >= 0:
			most = max(most, w.depth(o.To, known))
		default: // any function
			for to := range w.Funcs {
				most = max(most, w.depth(to, known))
			}
		}
	}
	known[f] = most + w.Frames[f].Total
	return known[f]
}

// pass writes all the code once; it returns false if a jump is too long.
func (w *Writer) pass(m Machine) bool {
	w.Code = w.Code[:0]
	w.Labels = make([]int, len(w.Ops)+2*len(w.Funcs), 2*len(w.Ops)+2*len(w.Funcs))
	for i := range w.Labels {
		w.Labels[i] = -1
	}
	clear(w.changed)
	w.Read, w.Wrote = w.Reads, w.Writes
	w.Flags, w.Calls, w.Claims = false, false, false
	for f := range w.Funcs {
		if w.Funcs[f].Used {
			w.function(m, f)
		}
	}
	if !w.Target.Called {
		w.Label(w.OutLabel(0))
	}
	return m.Link()
}

// function writes function f. The program itself, unless it is called, has no beginning and ends at
// the end of the code.
func (w *Writer) function(m Machine, f int) {
	w.Fn = f
	fn, called := &w.Funcs[f], w.Frames[f].Called
	w.Label(w.FuncLabel(f))
	if called {
		m.Enter()
	}
	if f == 0 && w.Context {
		m.Address(program.R1, Mem{Base: BaseFrame})
	}
	last := fn.End - 1
	for last > fn.Start && w.Ops[last].Kind == Nop {
		last--
	}
	for i := fn.Start; i < fn.End; i++ {
		w.Label(i)
		switch {
		case w.Ops[i].Kind != Exit:
			m.Operation(i)
		case i != last && called && len(w.Frames[f].Kept) == 0:
			m.Leave()
		case i != last || !called && !w.alone():
			m.Branch(w.OutLabel(f))
		}
	}
	if called {
		w.Label(w.OutLabel(f))
		m.Leave()
	}
}

// alone reports whether the program is the only function.
func (w *Writer) alone() bool {
	for f := 1; f < len(w.Funcs); f++ {
		if w.Funcs[f].Used {
			return false
		}
	}
	return true
}

// Label places label n here.
func (w *Writer) Label(n int) { w.Labels[n] = len(w.Code) }

// NewLabel returns a label that has no place yet.
func (w *Writer) NewLabel() int {
	w.Labels = append(w.Labels, -1)
	return len(w.Labels) - 1
}

// FuncLabel returns the label of function f's beginning.
func (w *Writer) FuncLabel(f int) int { return len(w.Ops) + 2*f }

// OutLabel returns the label of function f's end.
func (w *Writer) OutLabel(f int) int { return len(w.Ops) + 2*f + 1 }

// Change records that the current function changes registers for its caller.
func (w *Writer) Change(regs Words) { w.changed[w.Fn] |= regs }

// Restore records that they have their old values again.
func (w *Writer) Restore(regs Words) { w.changed[w.Fn] &^= regs }

// ChangeBy records what a call of function f changes; any register if f is -1.
func (w *Writer) ChangeBy(f int) {
	for to := range w.Funcs {
		if to == f || f < 0 && to > 0 {
			w.changed[w.Fn] |= w.before[to]
		}
	}
}

// Changes reports whether the current function is known to change any of regs.
func (w *Writer) Changes(regs Words) bool { return w.before[w.Fn]&regs != 0 }

// Held reports whether the register of the context's word that o loads still has the program's
// value. In a loop it must keep the value to the end.
func (w *Writer) Held(o *Op) bool {
	word := int(o.Mem.Off / sizeOf)
	changed := w.changed[0]
	if o.Loop {
		changed = w.before[0]
	}
	return o.Mem.Off%sizeOf == 0 && !changed.Has(word) && !w.stored.Has(word) && !w.Writes.Has(word)
}

// InFrame records that o accesses its word in the frame.
func (w *Writer) InFrame(o *Op) {
	word := Words(1) << uint(o.Mem.Off/sizeOf)
	w.Read |= word
	if o.Kind == Store || o.Kind == StoreRel {
		w.Wrote |= word
	}
}
