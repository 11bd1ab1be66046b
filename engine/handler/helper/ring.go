package helper

import (
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
)

// Rings, as in package ring.
type records struct {
	*code
	maps.Layout
}

// reserve is ringbuf_reserve: size and flags are in r2 and r3.
func (r records) reserve() {
	take, none := r.label(), r.label()
	r.begin("reserve", 0)
	r.wheni(program.JmpNe, r3, 0, none)
	r.mov(r1, r2)
	r.call(take)
	r.exit()
	r.here(none)
	r.result(0)
	r.takeFunc(take)
}

// takeFunc is the function that takes space for a record of r1 bytes. r0 is its address, or 0 if
// there is no space, which it counts.
func (r records) takeFunc(f label) {
	const tried = -8
	loop, fits, lost, drop := r.label(), r.label(), r.label(), r.label()
	r.here(f)
	r.begin("take", 8)
	r.mov(r6, r1)
	r.region(r9, r.Start)
	r.wheni(program.JmpGt, r6, int32(r.MaxEntries), drop)
	r.helper(program.FnCurrentPIDTGID)
	r.number(r7, ring.TIDMask)
	r.alu(program.AluAnd, r0, r7)
	r.alui(program.AluLsh, r0, ring.TIDShift)
	r.mov(r7, r6) // the space that the record takes
	r.alui(program.AluAdd, r7, 15)
	r.alui(program.AluAnd, r7, -8)
	r.wheni(program.JmpGt, r7, int32(r.MaxEntries/2), drop)
	r.number(r1, ring.Busy) // its header
	r.alu(program.AluOr, r6, r1)
	r.alu(program.AluOr, r6, r0)
	r.storei(r10, tried, tries)

	r.here(loop)
	r.countDown(tried, drop)
	r.acquire(r8, r9, ring.OffTail)
	r.acquire(r1, r9, ring.OffHead)
	r.mov(r3, r8)
	r.alu(program.AluSub, r3, r1)
	r.wheni(program.JmpGt, r3, int32(r.MaxEntries), loop)
	r.mov(r1, r6)
	r.mov(r2, r7)
	r.mov(r5, r8)
	r.alui(program.AluAnd, r5, int32(r.MaxEntries-1))
	r.movi(r4, int32(r.MaxEntries)) // the bytes left to the end of memory
	r.alu(program.AluSub, r4, r5)
	r.region(r0, r.Start+ring.HeaderSize)
	r.alu(program.AluAdd, r5, r0)
	r.when(program.JmpLe, r2, r4, fits)
	r.number(r1, ring.Discarded) // filler
	r.mov(r2, r4)
	r.alui(program.AluAdd, r4, -8)
	r.alu(program.AluOr, r1, r4)
	r.here(fits)
	r.alu(program.AluAdd, r3, r2)
	r.wheni(program.JmpGt, r3, int32(r.MaxEntries), drop)
	r.load(r0, r9, ring.OffSecret)
	r.alu(program.AluXor, r0, r8)
	r.number(r4, ring.Free)
	r.alu(program.AluOr, r4, r0)
	r.mov(r0, r4)
	r.cas(r5, 0, r1)
	r.when(program.JmpNe, r0, r4, lost)
	r.mov(r0, r8)
	r.alu(program.AluAdd, r2, r8)
	r.cas(r9, ring.OffTail, r2)
	r.when(program.JmpNe, r1, r6, loop)
	r.mov(r0, r5)
	r.alui(program.AluAdd, r0, 8)
	r.exit()

	r.here(lost) // another thread was faster: r0 is its record's header
	r.wheni(program.JmpSlt, r0, 0, loop)
	r.low(r2, r0)
	r.alui(program.AluAdd, r2, 15)
	r.alui(program.AluAnd, r2, -8)
	r.alu(program.AluAdd, r2, r8)
	r.mov(r0, r8)
	r.cas(r9, ring.OffTail, r2)
	r.jump(loop)

	r.here(drop)
	r.movi(r1, 1)
	r.add(r9, ring.OffDropped, r1)
	r.result(0)
}

// end is ringbuf_submit and ringbuf_discard: the record is in r1.
func (r *code) end(how uint64) {
	out := r.label()
	r.begin("end", 0)
	r.finish(r1, how, out)
	r.here(out)
	r.result(0)
}

// finish passes the record at an address to the reader; it clobbers r2 and r3.
func (r *code) finish(rec uint8, how uint64, out label) {
	r.load(r2, rec, -8)
	r.mov(r3, r2)
	r.alui(program.AluRsh, r3, 62)
	r.wheni(program.JmpNe, r3, int32(ring.Busy>>62), out)
	r.number(r3, ^uint64(ring.Busy))
	r.alu(program.AluAnd, r2, r3)
	if how != 0 {
		r.number(r3, how)
		r.alu(program.AluOr, r2, r3)
	}
	r.release(rec, -8, r2)
}

// output is ringbuf_output and perf_event_output: size bytes of data are at the address in register
// from; full is the error if there is no space.
func (r records) output(from, size uint8, full int32) {
	take, none, out := r.label(), r.label(), r.label()
	r.begin("output", 0)
	r.mov(r6, from)
	r.mov(r7, size)
	r.mov(r1, r7)
	r.call(take)
	r.wheni(program.JmpEq, r0, 0, none)
	r.mov(r8, r0)
	r.mov(r1, r0)
	r.mov(r2, r6)
	r.mov(r3, r7)
	r.copyLoop()
	r.finish(r8, 0, out)
	r.here(out)
	r.result(0)
	r.here(none)
	r.result(full)
	r.takeFunc(take)
}

// query is ringbuf_query: the requested value is in r2.
func (r records) query() {
	r.begin("query", 0)
	r.region(r1, r.Start)
	r.acquire(r3, r1, ring.OffHead)
	r.acquire(r4, r1, ring.OffTail)
	sub := func() { r.mov(r0, r4); r.alu(program.AluSub, r0, r3) }
	for what, tell := range []func(){
		ring.Available: sub,
		ring.Size:      func() { r.movi(r0, int32(r.MaxEntries)) },
		ring.Read:      func() { r.mov(r0, r3) },
		ring.Written:   func() { r.mov(r0, r4) },
	} {
		other := r.label()
		r.wheni(program.JmpNe, r2, int32(what), other)
		tell()
		r.exit()
		r.here(other)
	}
	r.result(0)
}
