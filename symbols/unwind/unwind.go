// Package unwind walks the stacks of stopped tasks, from registers, memory and the objects that
// are mapped: it is pure, and asks no kernel.
package unwind

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/frames"
)

// Memory is a process's memory. ReadSome reads as much as there is from an address on.
type Memory interface {
	ReadSome(at arch.Addr, buf []byte) (int, error)
}

// Walker goes from a task's registers to its callers. Its zero value is ready for Begin. It
// allocates nothing.
type Walker struct {
	isa     arch.ISA
	memory  Memory
	modules map[string]*symbols.Module
	last    *symbols.Module // that an address was found in
	entry   bool
	// A piece of the stack, read at once: its frames lie close to each other.
	start arch.Addr
	n     int // bytes of buf that were read
	buf   [4096]byte
}

// Begin makes the walker ready for a stack of a process. Nothing that was read before counts.
func (w *Walker) Begin(isa arch.ISA, memory Memory, modules map[string]*symbols.Module) {
	w.isa, w.memory, w.modules, w.last, w.n = isa, memory, modules, nil, 0
}

// word is the word at an address of the stack.
func (w *Walker) word(at arch.Addr) (uint64, bool) {
	off := uint64(at - w.start)
	if at < w.start || off+8 > uint64(w.n) {
		w.start = at
		w.n, _ = w.memory.ReadSome(at, w.buf[:])
		if off = 0; w.n < 8 {
			return 0, false
		}
	}
	return binary.LittleEndian.Uint64(w.buf[off:]), true
}

// callFrame is what is known of a frame's registers.
type callFrame struct {
	pc, sp, fp uint64
	link       uint64 // the link register, of the innermost frame
	innermost  bool
	exact      bool // the PC is where it goes on, not behind a call
}

// Walk writes the PC and the return addresses to buf, and gives their number: by call frame
// information, the unwinder's tables that are loaded with programs, and where there is none by
// the chain of frame pointers, as Go's code keeps them. It ends where neither
// leads to code of the process's objects: in code made at run time, too. With entry the task
// stands where its call has led, or where it returns: the return address lies where the call
// has left it.
func (w *Walker) Walk(r *arch.Regs, entry bool, buf []uint64) int {
	w.entry = entry
	f := callFrame{pc: r[w.isa.PCReg()], sp: r[w.isa.SPReg()], fp: r[w.isa.FPReg()], innermost: true, exact: true}
	if link := w.isa.LinkReg(); link >= 0 {
		f.link = r[link]
	}
	for n := range buf {
		buf[n] = f.pc
		if n > 0 && f.exact { // interrupted: all callers are behind the instruction that counts
			buf[n]++
		}
		if !w.up(&f) {
			return n + 1
		}
	}
	return len(buf)
}

// up goes to the caller's frame.
func (w *Walker) up(f *callFrame) bool {
	before := *f
	at := arch.Addr(f.pc)
	if !f.exact {
		at-- // a call may be a function's last instruction
	}
	m := w.object(at)
	if m == nil {
		return false
	}
	row, ok := m.File.Unwind(m.Vaddr(at))
	if ok {
		ok = w.byRow(f, &row)
	} else {
		ok = w.byPointer(f)
	}
	f.innermost, f.exact = false, row.Signal
	deeper := f.sp > before.sp || f.sp == before.sp && before.innermost
	return ok && f.pc != 0 && deeper && w.object(arch.Addr(f.pc)-1) != nil
}

// object is the object that an address lies in.
func (w *Walker) object(at arch.Addr) *symbols.Module {
	if w.last != nil && w.last.Contains(at) {
		return w.last
	}
	for _, m := range w.modules {
		if found := m.At(at); found != nil {
			w.last = found
			return found
		}
	}
	return nil
}

// reg is the register with a DWARF number, as far as it is known.
func (w *Walker) reg(f *callFrame, n uint8) (uint64, bool) {
	word, ok := w.isa.DwarfReg(int(n))
	switch {
	case !ok:
	case word == w.isa.SPReg():
		return f.sp, true
	case word == w.isa.FPReg():
		return f.fp, true
	case word == w.isa.LinkReg() && f.innermost:
		return f.link, true
	}
	return 0, false
}

// byRow goes up by call frame information.
func (w *Walker) byRow(f *callFrame, row *frames.Row) bool {
	base, ok := w.reg(f, row.Reg)
	cfa := base + uint64(row.Off)
	if ok && row.PLT && f.pc%16 >= 11 {
		cfa += 8
	}
	if ok && row.Deref {
		cfa, ok = w.word(arch.Addr(cfa))
	}
	if !ok {
		return false
	}
	pc, ok := w.saved(f, cfa, row.Return)
	if !ok {
		return false
	}
	if fp, ok := w.saved(f, cfa, row.FP); ok {
		f.fp = fp
	}
	f.pc, f.sp = w.isa.ReturnAddr(pc), cfa
	return true
}

// saved is a caller's register.
func (w *Walker) saved(f *callFrame, cfa uint64, p frames.Place) (uint64, bool) {
	switch p.Where {
	case frames.AtCFA:
		return w.word(arch.Addr(cfa + uint64(p.Off)))
	case frames.AtReg:
		base, ok := w.reg(f, p.Reg)
		if !ok {
			return 0, false
		}
		return w.word(arch.Addr(base + uint64(p.Off)))
	case frames.Same, frames.InReg:
		return w.reg(f, p.Reg)
	}
	return 0, false
}

// byPointer goes up by the frame pointer; from a function's first instruction,
// and the one that returns, by what its call has left.
func (w *Walker) byPointer(f *callFrame) (ok bool) {
	switch link := w.isa.LinkReg() >= 0; {
	case f.innermost && w.entry && link:
		f.pc = f.link
		return true
	case f.innermost && w.entry:
		f.pc, ok = w.word(arch.Addr(f.sp))
		f.sp += 8
		return ok
	}
	if f.fp < f.sp || f.fp%8 != 0 {
		return false
	}
	pc, ok := w.word(arch.Addr(f.fp + 8))
	next, ok2 := w.word(arch.Addr(f.fp))
	f.pc, f.sp, f.fp = w.isa.ReturnAddr(pc), f.fp+16, next
	return ok && ok2
}
