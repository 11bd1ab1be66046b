package helper

import (
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// updateArray is map_update_elem of an array: key, value and flags are in r2 to r4. The compiler
// inlines lookups in arrays.
func (e *Env) updateArray(l maps.Layout) *code {
	c := newCode()
	there, fits := c.label(), c.label()
	c.begin("update", 16)
	c.mov(r0, r4)
	c.loadSize(program.SizeW, r2, r2, 0)
	c.wheni(program.JmpLe, r0, maps.Exist, fits)
	c.result(eInvalid)
	c.here(fits)
	c.wheni(program.JmpLt, r2, int32(l.MaxEntries), there)
	c.region(r1, l.Header+maps.OffRefused)
	c.movi(r2, 1)
	c.add(r1, 0, r2)
	c.result(eTooBig)
	c.here(there)
	exists := c.label()
	c.wheni(program.JmpEq, r0, maps.NoExist, exists)
	c.mov(r5, r2)
	c.alui(program.AluMul, r5, int32(l.Stride))
	c.region(r1, l.Data)
	c.alu(program.AluAdd, r5, r1)
	switch {
	case l.Slotted && e.Slots != 0:
		e.ownSlot(c)
	case l.CPUs > 1:
		c.helper(compile.FnSlot)
	default:
		c.movi(r0, 0)
	}
	if l.CPUs > 1 || l.Slotted {
		c.alui(program.AluMul, r0, int32(l.CPUStride))
		c.alu(program.AluAdd, r5, r0)
	}
	c.mov(r0, r3)
	c.copyBytes(r5, r0, l.ValueSize)
	c.result(0)
	c.here(exists)
	c.result(eExists)
	return c
}

// ownSlot loads the number of the thread's slot into r0, and keeps r3 and r5.
func (e *Env) ownSlot(c *code) {
	lost, out := c.label(), c.label()
	c.store(r10, -8, r3)
	c.store(r10, -16, r5)
	c.helper(compile.FnEntry)
	c.wheni(program.JmpEq, r0, 0, lost)
	c.load(r0, r0, threadSlot)
	c.wheni(program.JmpLt, r0, maps.Slots, out)
	c.here(lost)
	c.number(r1, uint64(e.Lost))
	c.movi(r0, 1)
	c.add(r1, 0, r0)
	c.movi(r0, maps.Slots)
	c.here(out)
	c.load(r3, r10, -8)
	c.load(r5, r10, -16)
}

// refuseDelete is map_delete_elem of an array, which is an error.
func refuseDelete() *code {
	c := newCode()
	c.begin("delete", 0)
	c.result(eInvalid)
	return c
}
