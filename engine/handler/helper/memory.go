package helper

import (
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Memory of the program is read with a system call (process_vm_readv of the process itself): an
// address that can't be read is an error, not a fault, whether the tracer lives or not.

// readFunc is the function that reads r2 bytes at r3 to r1; r0 is the number of bytes read.
func (e *Env) readFunc(c *code, f label) {
	const local, remote = -32, -16
	c.here(f)
	c.begin("readv", 32)
	c.store(r10, local, r1)
	c.store(r10, local+8, r2)
	c.store(r10, remote, r3)
	c.store(r10, remote+8, r2)
	c.helper(compile.FnProcess)
	c.mov(r1, r0)
	c.mov(r2, r10)
	c.alui(program.AluAdd, r2, local)
	c.movi(r3, 1)
	c.mov(r4, r10)
	c.alui(program.AluAdd, r4, remote)
	c.movi(r5, 1)
	c.helper(compile.FnSyscall - systems[e.Context.Arch].readv)
	c.exit()
}

// read is probe_read_user: destination, size and address are in r1 to r3.
func (e *Env) read() *code {
	c := newCode()
	f, good := c.label(), c.label()
	c.begin("read", 24)
	c.mov(r6, r1)
	c.low(r7, r2)
	c.wheni(program.JmpEq, r7, 0, good)
	switch {
	case e.Stacks != 0 && e.pooled():
		e.readKnown(c, f)
	case e.Stacks != 0:
		e.readGoroutine(c)
	}
	c.mov(r2, r7)
	c.call(f)
	c.when(program.JmpEq, r0, r7, good)
	c.mov(r1, r6)
	c.mov(r2, r7)
	c.clearLoop()
	c.result(eFault)
	c.here(good)
	c.result(0)
	e.readFunc(c, f)
	return c
}

// readGoroutine reads the end of a goroutine's stack, which pairing needs, without a system call.
// It does so only if g is both in the ABI's register and in the thread's memory, at -8(%fs): then g
// is mapped. Any other read continues behind it.
func (e *Env) readGoroutine(c *code) {
	const stackEnd = 8 // g.stack.hi
	other := c.label()
	c.wheni(program.JmpNe, r7, 8, other)
	c.mov(r8, r3)
	c.helper(compile.FnThread)
	c.mov(r3, r8)
	c.mov(r2, r7)
	c.mov(r1, r6)
	c.wheni(program.JmpEq, r0, 0, other)
	c.load(r4, r0, -8)
	c.wheni(program.JmpEq, r4, 0, other) // there is no g yet
	c.alui(program.AluAdd, r4, stackEnd)
	c.when(program.JmpNe, r4, r3, other)
	c.load(r4, r3, 0)
	c.store(r6, 0, r4)
	c.result(0)
	c.here(other)
}

// readKnown is readGoroutine for threads that have their g in the register only; in code that is
// not Go's the register may hold anything. An address that was once found to be a g, since pointers
// from it lead to its thread and back, stays mapped for ever, and is read directly from then on.
func (e *Env) readKnown(c *code, f label) {
	const stackEnd, entry, m = 8, -24, -16
	other, known, no := c.label(), c.label(), c.label()
	c.wheni(program.JmpNe, r7, 8, other)
	c.helper(compile.FnGoroutine)
	c.wheni(program.JmpEq, r0, 0, other) // the value of an empty entry
	c.mov(r9, r0)
	c.alui(program.AluAdd, r0, stackEnd)
	c.when(program.JmpNe, r0, r3, other)
	c.mov(r8, r3)
	hashed(c, r2, r9, e.Threads+goroutines, goroutineBits, 3)
	c.acquire(r0, r2, 0)
	c.when(program.JmpEq, r0, r9, known)
	c.store(r10, entry, r2)
	next := func(off int32) { // loads the next word, into r3
		c.alui(program.AluAdd, r3, off)
		c.mov(r1, r6)
		c.mov(r2, r7)
		c.call(f)
		c.when(program.JmpNe, r0, r7, no)
		c.load(r3, r6, 0)
	}
	c.mov(r3, r9)
	next(gM)
	c.store(r10, m, r3)
	next(mG0)
	next(gM)
	c.load(r2, r10, m)
	c.when(program.JmpNe, r2, r3, no)
	c.load(r2, r10, entry)
	c.release(r2, 0, r9)
	c.here(known)
	c.load(r4, r8, 0)
	c.store(r6, 0, r4)
	c.result(0)
	c.here(no)
	c.mov(r1, r6)
	c.mov(r3, r8)
	c.here(other)
}

// Offsets in Go's runtime (runtime2.go): of g.m, and of m.g0.
const (
	gM  = 48
	mG0 = 0
)

// readString is probe_read_user_str: it reads up to the end of one page at a time, and not much
// beyond the end of the string.
func (e *Env) readString() *code {
	const piece, page, room, done = 64, 4096, -8, -16
	c := newCode()
	f, loop, small, near, scan, next, found, fault, full, out := c.label(), c.label(), c.label(), c.label(), c.label(),
		c.label(), c.label(), c.label(), c.label(), c.label()
	c.begin("string", 16)
	c.store(r10, room, r1)
	c.mov(r6, r1) // destination of the next byte
	c.low(r7, r2) // bytes left
	c.mov(r8, r3) // its address
	c.store(r10, done, r7)
	c.wheni(program.JmpEq, r7, 0, out)

	c.here(loop)
	c.mov(r9, r7)
	c.wheni(program.JmpLe, r9, piece, small)
	c.movi(r9, piece)
	c.here(small)
	c.mov(r1, r8)
	c.alui(program.AluAnd, r1, page-1)
	c.movi(r2, page)
	c.alu(program.AluSub, r2, r1)
	c.when(program.JmpLe, r9, r2, near)
	c.mov(r9, r2)
	c.here(near)
	c.mov(r1, r6)
	c.mov(r2, r9)
	c.mov(r3, r8)
	c.call(f)
	c.when(program.JmpNe, r0, r9, fault)
	c.alu(program.AluAdd, r8, r9)
	c.alu(program.AluSub, r7, r9)
	c.here(scan)
	c.loadSize(program.SizeB, r1, r6, 0)
	c.wheni(program.JmpEq, r1, 0, found)
	c.alui(program.AluAdd, r6, 1)
	c.alui(program.AluAdd, r9, -1)
	c.wheni(program.JmpNe, r9, 0, scan)
	c.here(next)
	c.wheni(program.JmpNe, r7, 0, loop)
	c.jump(full)

	c.here(found) // r6 is its address
	c.mov(r8, r6)
	c.mov(r1, r6)
	c.mov(r2, r9)
	c.alu(program.AluAdd, r2, r7)
	c.clearLoop()
	c.mov(r0, r8)
	c.load(r1, r10, room)
	c.alu(program.AluSub, r0, r1)
	c.alui(program.AluAdd, r0, 1)
	c.exit()
	c.here(full)
	c.put(program.ClassSt|program.ModeMem|program.SizeB, r6, 0, -1, 0)
	c.load(r0, r10, done)
	c.exit()
	c.here(fault)
	c.load(r1, r10, room)
	c.load(r2, r10, done)
	c.clearLoop()
	c.result(eFault)
	c.here(out)
	c.result(0)
	e.readFunc(c, f)
	return c
}

// compare is strncmp: a string, its size and the other string are in r1 to r3.
func compare() *code {
	c := newCode()
	loop, differ, less, same := c.label(), c.label(), c.label(), c.label()
	c.begin("strncmp", 0)
	c.low(r2, r2)
	c.here(loop)
	c.wheni(program.JmpEq, r2, 0, same)
	c.loadSize(program.SizeB, r4, r1, 0)
	c.loadSize(program.SizeB, r5, r3, 0)
	c.when(program.JmpNe, r4, r5, differ)
	c.wheni(program.JmpEq, r4, 0, same)
	c.alui(program.AluAdd, r1, 1)
	c.alui(program.AluAdd, r2, -1)
	c.alui(program.AluAdd, r3, 1)
	c.jump(loop)
	c.here(differ)
	c.when(program.JmpLt, r4, r5, less)
	c.result(1)
	c.here(less)
	c.result(-1)
	c.here(same)
	c.result(0)
	return c
}
