package engine

import "github.com/ptracer/ptracer/arch"

// stackWindow is a piece of a task's stack, read at once: its frames lie close
// to each other.
type stackWindow struct {
	start arch.Addr
	buf   [4096]byte
	n     int // bytes of buf that were read
}

// word is the word at an address of the stack.
func (e *env) word(at arch.Addr) (uint64, bool) {
	w := &e.stack
	off := uint64(at - w.start)
	if at < w.start || off+8 > uint64(w.n) {
		w.start = at
		w.n, _ = e.t.Process.Space.Memory.ReadSome(at, w.buf[:])
		if off = 0; w.n < 8 {
			return 0, false
		}
	}
	return le64(w.buf[off:]), true
}

// Stack gives the PC and the return addresses, by the chain of frame pointers,
// as the kernel's get_stack does: callers that keep none are missing from it. At
// a function's entry, and where it returns, its caller is the one that the call
// has left its address of.
func (e *env) Stack(buf []uint64) int {
	isa := e.s.isa
	n := 0
	add := func(pc uint64) bool {
		if n < len(buf) && pc != 0 {
			buf[n] = pc
			n++
			return true
		}
		return false
	}
	sp, fp := e.regs[isa.SPReg()], e.regs[isa.FPReg()]
	add(e.regs[isa.PCReg()])
	if e.p.top {
		ret, ok := uint64(0), true
		if link := isa.LinkReg(); link >= 0 {
			ret = e.regs[link]
		} else {
			ret, ok = e.word(arch.Addr(sp))
		}
		if !ok || !add(ret) {
			return n
		}
	}
	for fp >= sp && fp%8 == 0 {
		ret, ok := e.word(arch.Addr(fp + 8))
		next, ok2 := e.word(arch.Addr(fp))
		if !ok || !ok2 || !add(ret) || next <= fp {
			break
		}
		fp = next
	}
	return n
}
