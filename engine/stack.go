package engine

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
)

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

// callFrame is what is known of a frame's registers.
type callFrame struct {
	pc, sp, fp uint64
	link       uint64 // the link register, of the innermost frame
	innermost  bool
	exact      bool // the PC is where it goes on, not behind a call
}

// Stack gives the PC and the return addresses: by call frame information, the
// unwinder's tables that are loaded with programs, and where there is none by
// the chain of frame pointers, as Go's code keeps them. It ends where neither
// leads to code of the process's objects: in code made at run time, too.
func (e *env) Stack(buf []uint64) int {
	isa := e.s.isa
	f := callFrame{pc: e.regs[isa.PCReg()], sp: e.regs[isa.SPReg()], fp: e.regs[isa.FPReg()], innermost: true, exact: true}
	if link := isa.LinkReg(); link >= 0 {
		f.link = e.regs[link]
	}
	for n := range buf {
		buf[n] = f.pc
		if n > 0 && f.exact { // interrupted: all callers are behind the instruction that counts
			buf[n]++
		}
		if !e.up(&f) {
			return n + 1
		}
	}
	return len(buf)
}

// up goes to the caller's frame.
func (e *env) up(f *callFrame) bool {
	before := *f
	at := arch.Addr(f.pc)
	if !f.exact {
		at-- // a call may be a function's last instruction
	}
	m := e.object(at)
	if m == nil {
		return false
	}
	row, ok := m.File.Unwind(m.Vaddr(at))
	if ok {
		ok = e.byRow(f, &row)
	} else {
		ok = e.byPointer(f)
	}
	f.innermost, f.exact = false, row.Signal
	deeper := f.sp > before.sp || f.sp == before.sp && before.innermost
	return ok && f.pc != 0 && deeper && e.object(arch.Addr(f.pc)-1) != nil
}

// object is the object that an address lies in.
func (e *env) object(at arch.Addr) *symbols.Module {
	if e.last != nil && e.last.Contains(at) {
		return e.last
	}
	for _, m := range e.t.Process.Modules {
		if found := m.At(at); found != nil {
			e.last = found
			return found
		}
	}
	return nil
}

// reg is the register with a DWARF number, as far as it is known.
func (e *env) reg(f *callFrame, n uint8) (uint64, bool) {
	amd := e.s.isa.LinkReg() < 0
	switch {
	case amd && n == 7 || !amd && n == 31:
		return f.sp, true
	case amd && n == 6 || !amd && n == 29:
		return f.fp, true
	case !amd && n == 30 && f.innermost:
		return f.link, true
	}
	return 0, false
}

// byRow goes up by call frame information.
func (e *env) byRow(f *callFrame, row *symbols.Row) bool {
	base, ok := e.reg(f, row.Reg)
	cfa := base + uint64(row.Off)
	if ok && row.PLT && f.pc%16 >= 11 {
		cfa += 8
	}
	if ok && row.Deref {
		cfa, ok = e.word(arch.Addr(cfa))
	}
	if !ok {
		return false
	}
	pc, ok := e.saved(f, cfa, row.Return)
	if !ok {
		return false
	}
	if fp, ok := e.saved(f, cfa, row.FP); ok {
		f.fp = fp
	}
	f.pc, f.sp = strip(pc, e.s.isa), cfa
	return true
}

// saved is a caller's register.
func (e *env) saved(f *callFrame, cfa uint64, p symbols.Place) (uint64, bool) {
	switch p.Where {
	case symbols.AtCFA:
		return e.word(arch.Addr(cfa + uint64(p.Off)))
	case symbols.AtReg:
		base, ok := e.reg(f, p.Reg)
		if !ok {
			return 0, false
		}
		return e.word(arch.Addr(base + uint64(p.Off)))
	case symbols.Same, symbols.InReg:
		return e.reg(f, p.Reg)
	}
	return 0, false
}

// byPointer goes up by the frame pointer; from a function's first instruction,
// and the one that returns, by what its call has left.
func (e *env) byPointer(f *callFrame) (ok bool) {
	switch link := e.s.isa.LinkReg() >= 0; {
	case f.innermost && e.p.top && link:
		f.pc = f.link
		return true
	case f.innermost && e.p.top:
		f.pc, ok = e.word(arch.Addr(f.sp))
		f.sp += 8
		return ok
	}
	if f.fp < f.sp || f.fp%8 != 0 {
		return false
	}
	pc, ok := e.word(arch.Addr(f.fp + 8))
	next, ok2 := e.word(arch.Addr(f.fp))
	f.pc, f.sp, f.fp = strip(pc, e.s.isa), f.fp+16, next
	return ok && ok2
}

// strip takes the signature out of a return address (arm64: pointer
// authentication keeps it above the 48 bits of an address).
func strip(pc uint64, isa arch.ISA) uint64 {
	if isa.LinkReg() < 0 {
		return pc
	}
	return pc & (1<<48 - 1)
}
