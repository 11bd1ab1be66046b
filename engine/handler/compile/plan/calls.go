package plan

import (
	"math"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// stepCall folds a call: a call that needs no helper becomes another operation.
func (b *builder) stepCall(i int, s *state) {
	o := &b.Ops[i]
	result := value{}
	writes := o.Kind != Call // to the program's stack
	if o.Kind == Call {
		h := program.Helpers[int32(o.Imm)]
		writes = o.Imm != FnOwn && (h == nil || writesMemory(h))
		result = b.inline(i, s)
	}
	s.forget(volatile)
	if writes {
		s.slots = nil
	}
	s.set(program.R0, result)
}

func writesMemory(h *program.Helper) bool {
	for _, a := range h.Args {
		if a == program.ArgMemOut || a == program.ArgFunc {
			return true
		}
	}
	return false
}

// inline turns the call o into another operation if possible, and returns what is known about its
// result.
func (b *builder) inline(i int, s *state) value {
	o := &b.Ops[i]
	switch num := o.Imm; num {
	case program.FnCurrentPIDTGID:
		return value{what: ids, n: int64(i)}
	case program.FnMapLookup:
		if v := b.inlineLookup(o, s); o.Kind != Call {
			return v
		}
		b.own(i, s)
	case program.FnSMPProcessorID:
		if b.cpuInline {
			o.Kind = CPU
		}
	case program.FnLoop:
		o.Kind, o.To = Repeat, -1
		if v := s.get(program.R2); v.what == code {
			o.To = int(v.n)
		}
		if v := s.get(program.R4); v.what == number && v.n == 0 {
			o.Imm = 0
		}
	case program.FnGetAttachCookie:
		b.fromFrame(o, s, FrameCookie)
	case program.FnGetFuncIP:
		b.fromFrame(o, s, FrameFuncIP)
	}
	return value{}
}

// fromFrame turns o into a load of a word behind the context that R1 points to.
func (b *builder) fromFrame(o *Op, s *state, word int64) {
	o.Kind, o.Dst, o.Src, o.Size = Load, program.R0, NoReg, sizeOf
	o.Mem = Mem{program.R1, word * sizeOf}
	if v := s.get(program.R1); v.what == pointer {
		o.Mem = Mem{v.mem.Base, v.mem.Off + o.Mem.Off}
	} else {
		b.Reads |= 1 << uint(word)
	}
}

// inlineLookup handles arrays, with one value or one for each CPU. If the key is known, the value's
// address is known, or at least its place for each CPU.
func (b *builder) inlineLookup(o *Op, s *state) value {
	index := b.mapOf(s.get(program.R1))
	if index < 0 {
		return value{}
	}
	m, at := &b.Program.Maps[index], &b.Target.Maps[index]
	if m.Type != program.Array && m.Type != program.PerCPUArray || m.Type == program.PerCPUArray && !b.cpuInline && at.CPUs == 0 {
		return value{}
	}
	if m.KeySize != keySize || at.Stride <= 0 || at.Stride > math.MaxInt32 || at.CPUStride > math.MaxInt32 {
		return value{}
	}
	*o = Op{Kind: Lookup, Dst: program.R0, Src: NoReg, To: index, Mem: Mem{program.R2, 0}, Label: o.Label, Miss: -1}
	key := s.get(program.R2)
	if key.what == pointer {
		o.Mem = key.mem
	}
	if key = s.read(o.Mem.Off, keySize); o.Mem.Base != BaseStack || key.what != number {
		return value{}
	}
	n := uint32(key.n)
	switch {
	case n >= m.MaxEntries:
		*o = Op{Kind: Const, Dst: program.R0, Src: NoReg, Label: o.Label, Miss: -1}
		return num(0)
	case m.Type == program.Array:
		v := point(BaseRegion, int64(at.Data)+int64(n)*int64(at.Stride))
		*o = Op{Kind: Address, Dst: program.R0, Src: NoReg, Mem: v.mem, Label: o.Label, Miss: -1}
		return v
	}
	o.Imm, o.Mem = int64(n), Mem{Base: NoReg}
	return value{what: some}
}

// own turns the lookup at operation i into a lookup of what the thread has. The call that returned
// the thread's ids is removed then, if nothing else uses them.
func (b *builder) own(i int, s *state) {
	o, index, key := &b.Ops[i], b.mapOf(s.get(program.R1)), s.get(program.R2)
	if index < 0 || key.what != pointer || key.mem.Base != BaseStack {
		return
	}
	v := s.read(key.mem.Off, sizeOf)
	if _, has := b.Target.Helpers[Helper{FnOwn, index}]; !has || v.what != ids {
		return
	}
	o.Imm, o.To = FnOwn, index
	call := int(v.n)
	store := -1
	for j := call + 1; j < i; j++ {
		switch p := &b.Ops[j]; {
		case p.Label:
			return
		case p.Kind == Store && p.Src == program.R0 && store < 0 && p.Size == sizeOf && p.Mem == (Mem{BaseStack, key.mem.Off}):
			store = j
		case p.Kind == Nop, p.Kind == Const, p.Kind == Address, p.Kind == Load && p.Mem.Base == BaseFrame:
			if store < 0 && p.Defines()&(1<<program.R0) != 0 {
				return
			}
		case (p.Kind == Move || p.Kind == Alu) && p.Src != program.R0 && p.Dst != program.R0:
		default:
			return
		}
	}
	if store >= 0 {
		b.Ops[call].Kind, b.Ops[store].Kind = Nop, Nop
	}
}

// keySize is the size of an array's key, in bytes.
const keySize = 4

// mapOf returns the map that v stands for, -1 if it is not known.
func (b *builder) mapOf(v value) int {
	if v.what != pointer || v.mem.Base != BaseRegion {
		return -1
	}
	for i := range b.Program.Maps {
		if int64(b.Target.Maps[i].Header) == v.mem.Off {
			return i
		}
	}
	return -1
}
