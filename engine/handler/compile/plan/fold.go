package plan

import (
	"math"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// fold follows what is known about registers and stack through each function, once, in order. Where
// paths join, only facts known on all of them remain; at the head of a loop none do.
func (b *builder) fold() {
	b.labels()
	heads := make([]bool, len(b.Ops)) // targets of backward jumps
	for i := range b.Ops {
		if o := &b.Ops[i]; (o.Kind == Jump || o.Kind == Goto) && o.To <= i {
			heads[o.To] = true
		}
	}
	at := make(map[int]*state) // facts at targets of forward jumps
	for f := range b.Funcs {
		now := &state{}
		if f == 0 && !b.Target.Helper {
			now.set(program.R1, point(BaseFrame, 0))
		}
		for i := b.Funcs[f].Start; i < b.Funcs[f].End; i++ {
			now = join(now, at[i])
			if heads[i] {
				now = &state{}
			}
			if now == nil || b.Ops[i].Kind == Nop {
				continue
			}
			now = b.step(i, now, at)
		}
	}
}

// join returns the facts common to both ways to an instruction; nil is a way that is not taken.
func join(a, b *state) *state {
	switch {
	case a == nil:
		return b
	case b != nil:
		a.meet(b)
	}
	return a
}

// step folds operation i and returns what is known behind it, nil if the program does not continue
// there. at collects what is known at targets of jumps.
func (b *builder) step(i int, s *state, at map[int]*state) *state {
	o := &b.Ops[i]
	if o.hasMem() && o.Kind != Address {
		b.place(i, s)
	}
	b.immediate(o, s)
	o.simplify()
	switch o.Kind {
	case Exit:
		return nil
	case Goto, Jump:
		return b.stepJump(i, s, at)
	case Call, CallFunc, Repeat, Syscall:
		b.stepCall(i, s)
		return s
	case Store, StoreRel, Atomic:
		stepStore(o, s, b.result.Facts[i].Region)
	default:
		s.set(o.Dst, stepValue(o, s))
	}
	return s
}

// place sets the memory operand of operation i to the known place that its base points to.
func (b *builder) place(i int, s *state) {
	o, fact := &b.Ops[i], &b.result.Facts[i]
	if v := s.get(o.Mem.Base); v.what == pointer {
		o.Mem = Mem{v.mem.Base, v.mem.Off + o.Mem.Off}
	} else if b.Program.FuncAt(i) == 0 && fact.Region == verify.Ctx && fact.Fixed {
		o.Mem = Mem{BaseFrame, int64(fact.Off)}
	}
}

// immediate replaces a register by its known number.
func (b *builder) immediate(o *Op, s *state) {
	switch o.Kind {
	case Alu, Jump, Store, StoreRel:
	case Atomic:
		if o.Fetch {
			return
		}
	default:
		return
	}
	v := s.get(o.Src)
	if v.what != number {
		return
	}
	switch {
	case o.Kind == Alu && !o.Wide, o.Kind == Jump && !o.Wide, o.hasMem() && o.Size <= 4:
		v.n = int64(int32(v.n))
	case v.n < math.MinInt32 || v.n > math.MaxInt32:
		return
	}
	o.Src, o.Imm = NoReg, v.n
	switch {
	case o.Kind == Alu && (o.Fn == program.AluLsh || o.Fn == program.AluRsh || o.Fn == program.AluArsh):
		o.Imm &= 31
		if o.Wide {
			o.Imm = v.n & 63
		}
	case (o.Kind == Alu || o.Kind == Jump) && !o.Wide:
		o.Imm = int64(uint32(v.n))
	}
}

// stepValue returns what is known of o's Dst behind o, and simplifies o if the value is known.
func stepValue(o *Op, s *state) (v value) {
	switch o.Kind {
	case Const:
		return num(o.Imm)
	case Address:
		return value{what: pointer, mem: o.Mem}
	case FuncAddr:
		return value{what: code, n: int64(o.To)}
	case Move:
		v = s.get(o.Src)
		if !o.Wide {
			v.n = int64(uint32(v.n))
			if v.what != number {
				v = value{}
			}
		}
	case Alu:
		v = stepSum(o, s)
	case Load:
		v = stepLoad(o, s)
	case Lookup:
		if key := s.read(o.Mem.Off, keySize); o.Mem.Base == BaseStack && key.what == copied {
			o.Src, o.Mem = uint8(key.n), Mem{Base: NoReg}
		}
	}
	switch v.what {
	case number:
		*o = Op{Kind: Const, Dst: o.Dst, Src: NoReg, Imm: v.n, Label: o.Label, Miss: -1}
	case pointer:
		*o = Op{Kind: Address, Dst: o.Dst, Src: NoReg, Mem: v.mem, Label: o.Label, Miss: -1}
	case unknown:
		return value{}
	}
	return v
}

// stepLoad returns what is known of a load from the stack, which may be the value that a register
// still has.
func stepLoad(o *Op, s *state) (v value) {
	if o.Mem.Base != BaseStack {
		return v
	}
	v = s.read(o.Mem.Off, o.Size)
	switch {
	case v.what == number:
		v.n = extend(v.n, o.Size, o.Signed)
	case v.what == copied:
		if o.Size >= 4 && !o.Signed {
			*o = Op{Kind: Move, Wide: o.Size == sizeOf, Dst: o.Dst, Src: uint8(v.n), Label: o.Label, Miss: -1}
		}
		return value{}
	}
	return v
}

// stepSum returns the result of an addition or subtraction, the operations that make addresses.
func stepSum(o *Op, s *state) value {
	x := num(o.Imm)
	if !o.UsesImm() {
		x = s.get(o.Src)
	}
	switch {
	case !o.Wide:
	case o.Fn == program.AluAdd:
		return sum(s.get(o.Dst), x)
	case o.Fn == program.AluSub && x.what == number:
		return sum(s.get(o.Dst), num(-x.n))
	}
	return value{}
}

// extend returns the result of a load of size bytes of n.
func extend(n int64, size uint8, signed bool) int64 {
	shift := 64 - 8*uint(size)
	if signed {
		return n << shift >> shift
	}
	return int64(uint64(n) << shift >> shift)
}

func stepStore(o *Op, s *state, region verify.Region) {
	v := value{}
	switch {
	case o.Kind == Atomic:
		s.forget(o.Defines())
	case o.UsesImm():
		v = num(o.Imm)
	default:
		v = s.get(o.Src)
		if known := v.what == pointer || v.what == number || v.what == ids; (!known || o.Size < sizeOf) && o.Src < program.R10 {
			v = value{what: copied, n: int64(o.Src)}
		}
	}
	switch {
	case o.Mem.Base == BaseStack:
		s.write(o.Mem.Off, o.Size, v)
	case o.Mem.Base < BaseStack && region != verify.MapValue && region != verify.Record:
		s.slots = nil // the target may be the stack
	}
}

// stepJump follows both ways of a jump, or the only possible one.
func (b *builder) stepJump(i int, s *state, at map[int]*state) *state {
	o := &b.Ops[i]
	if taken, known := decided(o, s); known && taken {
		o.Kind = Goto
	} else if known {
		o.Kind = Nop
		return s
	}
	if o.To > i {
		if there := at[o.To]; there != nil {
			there.meet(s)
		} else {
			at[o.To] = s.clone()
		}
	}
	if o.Kind == Goto {
		return nil
	}
	return s
}

// decided reports whether a jump is taken, if that is known: for two numbers, and for an address
// compared with 0.
func decided(o *Op, s *state) (taken, known bool) {
	v := s.get(o.Dst)
	switch {
	case o.Kind == Goto || !o.UsesImm():
		return false, false
	case v.what == number:
		return holds(o.Fn, v.n, o.Imm, o.Wide), true
	case v.what == unknown || !o.Wide || o.Imm != 0:
		return false, false
	}
	return o.Fn == program.JmpNe, o.Fn == program.JmpNe || o.Fn == program.JmpEq
}
