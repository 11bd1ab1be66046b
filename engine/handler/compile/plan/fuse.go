package plan

import (
	"math"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// follow returns the operation that runs behind operation i and on no other path, -1 if there is
// none.
func (b *builder) follow(i int) int {
	for i++; i < len(b.Ops); i++ {
		if b.Ops[i].Label {
			return -1
		}
		if b.Ops[i].Kind != Nop {
			return i
		}
	}
	return -1
}

// bump fuses a load, arithmetic and a store of the same map value into an atomic operation. In the
// kernel nothing interrupts these on one CPU, which makes plain counting in per-CPU maps exact; a
// thread of the traced program can be preempted anywhere.
func (b *builder) bump() {
	b.labels()
	for i := range b.Ops {
		load := &b.Ops[i]
		if load.Kind != Load || load.Signed || load.Size < 4 || !b.shared(i) || load.Mem.Base == load.Dst {
			continue
		}
		j := b.follow(i)
		if j < 0 || !bumps(&b.Ops[j], load) {
			continue
		}
		k := b.follow(j)
		if k < 0 {
			continue
		}
		store := &b.Ops[k]
		if store.Kind != Store || store.Src != load.Dst || store.Mem != load.Mem || store.Size != load.Size || store.Live&bit(load.Dst) != 0 {
			continue
		}
		alu := b.Ops[j]
		store.Kind, store.Fn, store.Src, store.Imm = Atomic, alu.Fn, alu.Src, int64(int32(alu.Imm))
		if alu.Fn == program.AluSub {
			store.Fn, store.Imm = program.AluAdd, -store.Imm
		}
		load.Kind, b.Ops[j].Kind = Nop, Nop
	}
}

// bumps reports whether o is arithmetic on a loaded value that can be done in memory.
func bumps(o, load *Op) bool {
	if o.Kind != Alu || o.Dst != load.Dst || o.Src == load.Dst || o.Src == program.R10 || load.Size == sizeOf && !o.Wide {
		return false
	}
	if o.Fn == program.AluSub {
		return o.UsesImm() && int32(o.Imm) != math.MinInt32
	}
	return atomicFns[o.Fn]
}

// shared reports whether operation i accesses a map value with the alignment that atomic operations
// need.
func (b *builder) shared(i int) bool {
	o, fact := &b.Ops[i], &b.result.Facts[i]
	if o.Mem.Base == BaseRegion {
		return o.Mem.Off%int64(o.Size) == 0
	}
	return o.Mem.Base < BaseStack && fact.Region == verify.MapValue && fact.Fixed && fact.Off%int(o.Size) == 0
}

// fuse fuses a lookup and the test of its result, if R0 is not used when there is no value.
func (b *builder) fuse() {
	b.labels()
	for i := range b.Ops {
		o := &b.Ops[i]
		constant, _ := o.Key()
		j := b.follow(i)
		if o.Kind != Lookup || constant || j < 0 {
			continue
		}
		test := &b.Ops[j]
		const r0 = 1 << program.R0
		if test.Kind == Jump && test.Fn == program.JmpEq && test.Wide && test.Dst == program.R0 && test.UsesImm() &&
			test.Imm == 0 && b.in[test.To]&r0 == 0 {
			o.Miss, test.Kind = test.To, Nop
		}
	}
}

// process fuses a call for the ids and the shift that leaves the process's id, if the target
// supports that.
func (b *builder) process() {
	if _, has := b.Target.Helpers[Helper{FnProcess, NoMap}]; !has {
		return
	}
	for i := range b.Ops {
		o, j := &b.Ops[i], b.follow(i)
		if o.Kind != Call || o.Imm != program.FnCurrentPIDTGID || j < 0 {
			continue
		}
		shift := &b.Ops[j]
		if shift.Kind == Alu && shift.Fn == program.AluRsh && shift.Wide && shift.Dst == program.R0 && shift.UsesImm() && shift.Imm == 32 {
			o.Imm, shift.Kind = FnProcess, Nop
		}
	}
}

// tidy removes jumps to the next operation.
func (b *builder) tidy() {
	for i := len(b.Ops) - 1; i >= 0; i-- {
		o := &b.Ops[i]
		if (o.Kind != Goto && o.Kind != Jump) || o.To <= i {
			continue
		}
		next := i + 1
		for next < o.To && b.Ops[next].Kind == Nop {
			next++
		}
		if next == o.To {
			o.Kind = Nop
		}
	}
	b.labels()
}
