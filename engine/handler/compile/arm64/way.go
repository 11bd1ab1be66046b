package arm64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/failure"
)

// Words of arch.Regs that are not general registers.
const (
	wordSP = 31
	wordPC = 32
)

// Way makes the code that runs before and behind inlined code on way w: it saves the registers that
// the code changes and provides those that it reads. Both can lie anywhere; length is the length of
// the code between them, in bytes.
func Way(code *plan.Code, w *plan.Way, length int) (before, behind []byte, err error) {
	a, b := newWay(code, w), newWay(code, w)
	if w.OnOwn(code, a.size-w.Skip) {
		return onOwn(code, w, length)
	}
	if err = a.in(); err != nil {
		return nil, nil, err
	}
	b.out()
	if a.size > 0 {
		err = w.Check(code, a.size-w.Skip)
	} else {
		err = w.Check(code, 0)
	}
	return a.Code, b.Code, err
}

// onOwn is Way for code that runs on ptracer's stack.
func onOwn(code *plan.Code, w *plan.Way, length int) (before, behind []byte, err error) {
	inner := *w
	inner.Flags, inner.Skip = false, 0
	a, b := newWay(code, &inner), newWay(code, &inner)
	a.outer, b.outer = w, w
	b.out()
	saved := b.leaveOwn()
	skip := a.NewLabel()
	a.enterOwn(skip)
	if err = a.in(); err != nil {
		return nil, nil, err
	}
	a.Labels[skip] = len(a.Code) + length + saved
	if !a.Link() {
		return nil, nil, failure.Unsupportedf("code of %d bytes", length)
	}
	return a.Code, b.Code, w.Check(code, a.size)
}

// way saves registers in the frame or, if the code needs no frame, one behind the other.
type way struct {
	compiler
	code  *plan.Code
	way   *plan.Way
	outer *plan.Way // the way on the program's stack, if the code runs on one of ptracer's
	keeps []reg
	flags bool
	size  int // by how much the stack pointer moves, a multiple of 16
}

func newWay(code *plan.Code, w *plan.Way) *way {
	p := &plan.Plan{Funcs: make([]plan.Func, 1), Target: &plan.Target{}}
	a := &way{compiler: compiler{Writer: plan.NewWriter(p)}, code: code, way: w}
	a.flags = code.Flags && w.Flags
	words := code.Clobbers | code.Reads
	for r := reg(0); r < sp; r++ {
		if words.Has(int(r)) || r == scratch0 && (a.flags || a.constants() != 0) {
			a.keeps = append(a.keeps, r)
		}
	}
	switch {
	case !code.Bare():
		a.size = w.Skip + code.Locals + 8*plan.FrameWords + 16
	case len(a.keeps) > 0:
		a.size = w.Skip + (8*len(a.keeps)+8+15)&^15
	}
	return a
}

// constants returns the words that no register holds.
func (a *way) constants() plan.Words {
	return a.code.Reads & (1<<wordSP | 1<<wordPC | 1<<plan.FrameFuncIP | 1<<plan.FrameCookie)
}

// place is the offset of the i-th saved register from the stack pointer.
func (a *way) place(i int) int64 {
	if a.code.Bare() {
		return int64(8 * i)
	}
	return a.frame(int(a.keeps[i]))
}

func (a *way) frame(w int) int64 { return int64(a.code.Locals + 8*w) }

// flagsAt is the offset behind all saved registers.
func (a *way) flagsAt() int64 {
	if a.code.Bare() {
		return int64(8 * len(a.keeps))
	}
	return a.frame(plan.FrameWords)
}

func (a *way) store(r reg, off int64) { a.access(accStore, 3, r, sp, off) }
func (a *way) load(r reg, off int64)  { a.access(accLoad, 3, r, sp, off) }

func (a *way) in() error {
	if a.size == 0 {
		return nil
	}
	if !fits(int64(a.size), 12) {
		return failure.Unsupportedf("a frame of %d bytes", a.size)
	}
	a.addTo(sp, sp, int64(-a.size))
	own := int64(0)
	for i, r := range a.keeps {
		a.store(r, a.place(i))
		if r == scratch0 {
			own = a.place(i)
		}
	}
	if a.flags {
		a.put(0xd53b4200 | uint32(scratch0)) // mrs, nzcv
		a.store(scratch0, a.flagsAt())
	}
	if a.code.Reads.Has(wordSP) {
		a.programSP(scratch0)
		a.store(scratch0, a.frame(wordSP))
	}
	for i, w := range []int{wordPC, plan.FrameFuncIP, plan.FrameCookie} {
		v := [...]uint64{uint64(a.way.PC), a.way.FuncIP, a.way.Cookie}[i]
		if a.code.Reads.Has(w) {
			a.constant(scratch0, int64(v))
			a.store(scratch0, a.frame(w))
		}
	}
	if a.flags || a.constants() != 0 {
		a.load(scratch0, own)
	}
	const general = 1<<sp - 1
	if rest := a.code.Reads &^ (general | a.constants()); rest != 0 {
		return failure.Unsupportedf("it reads words %#x of the context", uint64(rest))
	}
	return nil
}

// programSP sets r to the program's stack pointer.
func (a *way) programSP(r reg) {
	if a.outer == nil {
		a.addTo(r, sp, int64(a.size))
		return
	}
	a.load(r, int64(a.size+stackOld))
	a.addTo(r, r, ownFrame(a.outer))
}

func (a *way) out() {
	if a.size == 0 {
		return
	}
	if a.flags {
		a.load(scratch0, a.flagsAt())
		a.put(0xd51b4200 | uint32(scratch0)) // msr
	}
	for i, r := range a.keeps {
		if a.code.Clobbers.Has(int(r)) || r == scratch0 && a.flags {
			a.load(r, a.place(i))
		}
	}
	a.addTo(sp, sp, int64(a.size))
}
