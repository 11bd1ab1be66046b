package amd64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/failure"
)

// Words of arch.Regs that are not general registers.
const (
	wordIP = 16
	wordSP = 19
)

// gpWords are the words of general registers, without the stack pointer.
var gpWords = func() (w plan.Words) {
	for r, at := range word {
		if reg(r) != rsp {
			w |= 1 << uint(at)
		}
	}
	return w
}()

// Way makes the code that runs before and behind inlined code on way w: it saves the registers that
// the code changes and provides those that it reads. Both can lie anywhere; length is the length of
// the code between them, in bytes.
func Way(code *plan.Code, w *plan.Way, length int) (before, behind []byte, err error) {
	p := &plan.Plan{Funcs: make([]plan.Func, 1), Target: &plan.Target{}}
	a := way{compiler{Writer: plan.NewWriter(p)}, code, w}
	b := way{compiler{Writer: plan.NewWriter(p)}, code, w}
	if code.Bare() && !w.OnOwn(code, a.bareSize()) {
		saved := a.bare()
		b.bareBack(saved)
		err = w.Check(code, 8*saved)
		return a.Code, b.Code, err
	}
	if w.Own.Used() {
		return onOwn(a, b, length)
	}
	if err = a.framed(); err != nil {
		return nil, nil, err
	}
	b.framedBack()
	return a.Code, b.Code, w.Check(code, a.size()-w.Skip)
}

// onOwn is Way for code that runs on ptracer's stack.
func onOwn(a, b way, length int) (before, behind []byte, err error) {
	outer, inner := *a.way, *a.way
	inner.Flags, inner.Skip = false, 0
	a.way, b.way = &inner, &inner
	if err = a.framed(); err != nil {
		return nil, nil, err
	}
	framed := a.Code
	a.Code, a.way = nil, &outer
	b.framedBack()
	b.way = &outer
	b.leaveOwn()
	a.enterOwn(len(framed) + length + len(b.Code))
	a.Link()
	return append(a.Code, framed...), b.Code, outer.Check(a.code, (&way{code: a.code, way: &inner}).size())
}

type way struct {
	compiler
	code *plan.Code
	way  *plan.Way
}

func (a *way) store(r reg, p place) { a.put(inst{wide: true, op: []byte{0x89}, reg: r, rm: p}) }
func (a *way) load(r reg, p place)  { a.put(inst{wide: true, op: []byte{0x8b}, reg: r, rm: p}) }

// saves returns the registers that code changes, rax first if it or the flags must be saved, and
// whether the flags must be.
func (a *way) saves() (list []reg, flags bool) {
	flags = a.code.Flags && a.way.Flags
	for r, at := range word {
		if a.code.Clobbers.Has(at) && reg(r) != rsp || flags && reg(r) == rax {
			list = append(list, reg(r))
		}
	}
	return list, flags
}

// getFlags loads the arithmetic flags into rax, setFlags restores them: lahf and seto cost a tenth
// of pushf and popf.
func (a *way) getFlags() { a.bytes(0x9f, 0x0f, 0x90, 0xc0) }
func (a *way) setFlags() { a.bytes(0x04, 0x7f, 0x9e) }

// bareSize is how many bytes bare saves.
func (a *way) bareSize() int {
	list, flags := a.saves()
	if flags {
		return 8 * (len(list) + 1)
	}
	return 8 * len(list)
}

// bare saves registers, and the flags behind them, below the red zone; saved is the number of
// words.
func (a *way) bare() (saved int) {
	list, flags := a.saves()
	if saved = a.bareSize() / 8; saved == 0 {
		return 0
	}
	a.moveStack(-(a.way.Skip + 8*saved))
	for i, r := range list {
		a.store(r, at(rsp, int64(8*i)))
	}
	if flags {
		a.getFlags()
		a.store(rax, at(rsp, int64(8*len(list))))
		a.load(rax, at(rsp, 0)) // the code may read rax, whether it changes rax or not
	}
	return saved
}

func (a *way) bareBack(saved int) {
	if saved == 0 {
		return
	}
	list, flags := a.saves()
	if flags {
		a.load(rax, at(rsp, int64(8*len(list))))
		a.setFlags()
	}
	for i, r := range list {
		a.load(r, at(rsp, int64(8*i)))
	}
	a.moveStack(a.way.Skip + 8*saved)
}

// With a frame, the stack has from the stack pointer up: the code's locals, the frame, the flags,
// the red zone. Nothing is aligned: ptracer's code does not need it, and finding the way back would
// cost more than all the rest.
const flagsSize = 16 // 8, and padding that makes the sum a multiple of 16

func (a *way) frame(w int) place { return at(rsp, int64(a.code.Locals+8*w)) }
func (a *way) flags() place      { return a.frame(plan.FrameWords) }
func (a *way) size() int         { return a.code.Locals + 8*plan.FrameWords + flagsSize + a.way.Skip }

func (a *way) framed() error {
	words := a.code.Clobbers | a.code.Reads
	a.moveStack(-a.size())
	a.store(rax, a.frame(word[rax]))
	changed := a.way.Flags
	if a.way.Flags {
		a.getFlags()
		a.store(rax, a.flags())
	}
	if words.Has(wordSP) {
		if a.way.Own.Used() {
			a.load(rax, at(rsp, int64(a.size()+levelOld)))
			a.put(inst{wide: true, op: lea, reg: rax, rm: at(rax, plan.OwnStackSaved)})
		} else {
			a.put(inst{wide: true, op: lea, reg: rax, rm: at(rsp, int64(a.size()))})
		}
		a.store(rax, a.frame(wordSP))
		changed = true
	}
	for i, w := range []int{wordIP, plan.FrameFuncIP, plan.FrameCookie} {
		v := [...]uint64{uint64(a.way.PC), a.way.FuncIP, a.way.Cookie}[i]
		if words.Has(w) {
			a.constant(rax, int64(v))
			a.store(rax, a.frame(w))
			changed = true
		}
	}
	if changed {
		a.load(rax, a.frame(word[rax]))
	}
	for r, w := range word {
		if reg(r) != rsp && reg(r) != rax && words.Has(w) {
			a.store(reg(r), a.frame(w))
		}
	}
	const known = 1<<wordIP | 1<<wordSP | 1<<plan.FrameFuncIP | 1<<plan.FrameCookie
	if rest := a.code.Reads &^ (gpWords | known); rest != 0 {
		return failure.Unsupportedf("it reads words %#x of the context", uint64(rest))
	}
	return nil
}

func (a *way) framedBack() {
	if a.way.Flags {
		a.load(rax, a.flags())
		a.setFlags()
	}
	for r, w := range word {
		if reg(r) != rsp && reg(r) != rax && a.code.Clobbers.Has(w) {
			a.load(reg(r), a.frame(w))
		}
	}
	a.load(rax, a.frame(word[rax]))
	a.moveStack(a.size())
}
