package arm64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// primitive writes operations that only helpers use.
func (c *compiler) primitive(o *plan.Op) {
	r0 := home[program.R0]
	switch o.Kind {
	case plan.Thread:
		c.changes(r0)
		c.thread(r0)
	case plan.Goroutine:
		c.move(true, r0, goroutine)
	case plan.Slot:
		c.slot(r0, c.Target.Maps[0].CPUs)
	case plan.Cycles:
		c.changes(r0)
		c.put(0xd53be040 | uint32(r0)) // mrs, cntvct_el0
	case plan.Scale:
		r5 := home[program.R5]
		c.changes(r0, scratch1)
		c.put(0x9bc07c00 | uint32(r5)<<16 | uint32(r0)<<5 | uint32(scratch1)) // umulh
		c.multiply(true, false, r0, r0, r5, zero)
		c.put(0x93c00000 | uint32(r0)<<16 | uint32(o.Imm)<<10 | uint32(scratch1)<<5 | uint32(r0)) // extr
	case plan.Syscall:
		const number, sixth reg = 8, 5 // calls keep these
		c.three(true, opOrr, scratch1, zero, number)
		c.three(true, opOrr, scratch2, zero, sixth)
		c.changes(r0, scratch1, scratch2)
		c.number(number, o.Imm)
		c.number(sixth, 0)
		c.put(0xd4000001) // svc #0
		c.three(true, opOrr, number, zero, scratch1)
		c.three(true, opOrr, sixth, zero, scratch2)
		c.move(true, r0, home[program.R1])
		for r := program.R1; r <= program.R5; r++ {
			c.changes(home[r]) // as calls do
		}
	}
}

// number sets r to n, of 16 bits; the caller restores r.
func (c *compiler) number(r reg, n int64) { c.put(0xd2800000 | uint32(n)<<5 | uint32(r)) } // movz

// thread sets r to the thread pointer.
func (c *compiler) thread(r reg) { c.put(0xd53bd040 | uint32(r)) } // mrs, tpidr_el0

// golden is 2^64 divided by the golden ratio: as a factor it spreads values well.
const golden = -0x61c8864680b583eb

// slot sets r to the number of this thread's value in a map with one for each CPU: the CPU's or, if
// no instruction reads the CPU's number, a number that depends on the thread. Threads may share a
// value, also when the kernel moves them meanwhile.
func (c *compiler) slot(r reg, cpus int) {
	c.changes(r)
	if c.Target.RSeq != 0 {
		c.cpu(r)
		return
	}
	c.thread(r)
	c.constant(scratch3, golden)
	c.multiply(true, false, r, r, scratch3, zero)
	c.put(0xd360fc00 | uint32(r)<<5 | uint32(r)) // lsr 32
	c.constant(scratch3, int64(cpus))
	c.multiply(true, false, r, r, scratch3, zero)
	c.put(0xd360fc00 | uint32(r)<<5 | uint32(r))
}
