package plan

import (
	"errors"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Machine writes machine code: it lowers what a Writer goes through.
type Machine interface {
	// Layout completes function f's frame; it is asked once.
	Layout(f int)
	// Enter and Leave are the beginning and end of the function in work.
	Enter()
	Leave()
	// Operation is operation i.
	Operation(i int)
	// Address makes a register a place's address.
	Address(r uint8, m Mem)
	// Branch goes to a label.
	Branch(label int)
	// Link writes the distances of jumps; false: one does not fit.
	Link() bool
}

// Writer goes through a plan for a Machine, which embeds it: functions, labels,
// and what the code changes. It goes through it several times, since the code
// depends on what the whole of it changes.
type Writer struct {
	*Plan
	Code []byte
	// Labels are the offsets of labels, -1 if not yet known: one for each
	// operation, two for each function, then the Machine's own. Old are those
	// of the pass before, once nothing but distances can change: code only
	// gets shorter then. It is nil before.
	Labels, Old []int
	Frames      []Frame
	Fn          int   // the function in work
	Read, Wrote Words // of the frame
	Flags       bool  // flags have changed in this pass
	Flagged     bool  // and in the one before
	Calls       bool
	Claims      bool

	changed []Words // so far, of each function
	before  []Words // in the whole of it, in the pass before
}

// Frame is a function's stack. From the stack pointer up: what loops keep
// (LoopBytes), padding, the program's stack, what the Machine keeps for the
// caller.
type Frame struct {
	Called bool
	Size   int     // from the stack pointer to the end of the program's stack
	Total  int     // of all, with what the Machine keeps
	Kept   []uint8 // of R6 to R9, for the caller
	Calls  bool    // anything
}

// What a loop keeps at the bottom of its function's stack, in bytes from the
// stack pointer.
const (
	LoopCount = 0  // times gone round
	LoopLimit = 8  // times to go round
	LoopArg   = 16 // what the function is given
	LoopCode  = 24 // its address, if it is not known
	LoopBytes = 32
)

// NewWriter makes a Writer of p.
func NewWriter(p *Plan) Writer {
	n := len(p.Funcs)
	return Writer{Plan: p, Frames: make([]Frame, n), changed: make([]Words, n), before: make([]Words, n)}
}

// frameOf says how function f's stack looks, as far as all machines agree.
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

// maxPasses is how often the code is written at most; three or four are usual.
const maxPasses = 16

// Run writes the code with m until it stays the same: first until it is known
// what the code changes, then until distances have settled.
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

// settled is whether the pass found what the one before had found; it becomes
// the one before.
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

// depth is how many bytes of stack function f needs with all that it calls.
// known has what was found before; a function that is being looked at counts
// nothing in itself, as the verifier has refused it.
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
		default: // any
			for to := range w.Funcs {
				most = max(most, w.depth(to, known))
			}
		}
	}
	known[f] = most + w.Frames[f].Total
	return known[f]
}

// pass writes all the code once; false: a jump is too long.
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

// function writes function f. The program itself, if it is not called, has no
// beginning and ends by reaching the end of the code.
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

// alone is whether the program is its only function.
func (w *Writer) alone() bool {
	for f := 1; f < len(w.Funcs); f++ {
		if w.Funcs[f].Used {
			return false
		}
	}
	return true
}

// Label says that label n is here.
func (w *Writer) Label(n int) { w.Labels[n] = len(w.Code) }

// NewLabel is a label that is not yet anywhere.
func (w *Writer) NewLabel() int {
	w.Labels = append(w.Labels, -1)
	return len(w.Labels) - 1
}

// FuncLabel is the label of function f's beginning.
func (w *Writer) FuncLabel(f int) int { return len(w.Ops) + 2*f }

// OutLabel is the label of function f's end.
func (w *Writer) OutLabel(f int) int { return len(w.Ops) + 2*f + 1 }

// Change notes that the function in work changes registers for its caller.
func (w *Writer) Change(regs Words) { w.changed[w.Fn] |= regs }

// Restore notes that they are what they were.
func (w *Writer) Restore(regs Words) { w.changed[w.Fn] &^= regs }

// ChangeBy notes what a call of function f changes, any of them if -1.
func (w *Writer) ChangeBy(f int) {
	for to := range w.Funcs {
		if to == f || f < 0 && to > 0 {
			w.changed[w.Fn] |= w.before[to]
		}
	}
}

// Changes is whether the function in work is known to change one of regs
// anywhere.
func (w *Writer) Changes(regs Words) bool { return w.before[w.Fn]&regs != 0 }

// Held is whether the register of the context's word that o loads still has
// the program's value. In a loop it must keep it to the end.
func (w *Writer) Held(o *Op) bool {
	word := int(o.Mem.Off / sizeOf)
	changed := w.changed[0]
	if o.Loop {
		changed = w.before[0]
	}
	return o.Mem.Off%sizeOf == 0 && !changed.Has(word) && !w.stored.Has(word) && !w.Writes.Has(word)
}

// InFrame notes that o accesses its word in the frame.
func (w *Writer) InFrame(o *Op) {
	word := Words(1) << uint(o.Mem.Off/sizeOf)
	w.Read |= word
	if o.Kind == Store || o.Kind == StoreRel {
		w.Wrote |= word
	}
}
