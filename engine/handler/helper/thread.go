package helper

import (
	"math"

	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Threads is a table of a process's threads, in memory of its own that is empty in a child
// (MADV_WIPEONFORK). An entry has the thread's pointer to its own data, which no two threads share;
// the ids of process and thread, in the form of get_current_pid_tgid, 0 until the kernel has been
// asked; the thread's slot of maps (package maps, Slots); two pairs, of a map that the thread has
// looked into by its ids and the node in which it found them; and the end of the free part of its
// stack (compile.OwnStack). A thread looks at Probes entries, beginning with the one that its
// pointer's hash selects. The lowest bit of an entry's first word is set until the entry has a
// slot, for ever if no slot is left.
//
// Behind the entries is news of threads, from the threads' tracer: a pointer and ids, at one of
// NewsProbes places, beginning with the one that the pointer's hash selects. It saves asking the
// kernel, which a program may have forbidden itself. At ThreadOther are the ids of the only thread
// without news: that of a program that starts, which has not set its pointer yet; 0 if there may be
// several. Behind the news are addresses that are known to be goroutines (readKnown).
const (
	ThreadsSize = goroutines + 8<<goroutineBits // bytes
	ThreadOwner = 0                             // the id of the process that owns the table, or NoOwner
	ThreadOther = 8                             // the ids of a thread without news
	ThreadIDs   = threadIDs                     // in an entry

	NewsProbes = 8
	NewsSize   = 16

	threadNews = threadFirst + (threadEntries+threadProbes)*threadEntry
	newsBits   = 12
	goroutines = threadNews + (1<<newsBits+NewsProbes)*NewsSize

	goroutineBits = 10

	threadFirst   = compile.ThreadFirst // behind the process's id: other processes in the same memory keep no ids here
	threadLost    = 0                   // an entry for threads that find none, with the slot field only
	threadBits    = compile.ThreadBits
	threadEntries = 1 << threadBits
	threadEntry   = compile.ThreadEntry
	threadIDs     = 8
	threadSlot    = compile.ThreadSlot
	threadFound   = 24 // the first pair
	threadPairs   = 2
	threadStack   = compile.ThreadStack
	threadProbes  = 16
	threadShift   = 6
	threadBusy    = 1 // in the first word
)

// ThreadPlaces returns the offsets at which a thread may have its entry in the table.
func ThreadPlaces(pointer uint64) (list []int) {
	first := int(uint32(pointer) * compile.ThreadMul >> (32 - threadBits))
	for i := range threadProbes {
		list = append(list, threadFirst+(first+i)*threadEntry)
	}
	return list
}

// ThreadNews is the offset of the first of NewsProbes places, of NewsSize bytes each, for news of a
// thread.
func ThreadNews(pointer uint64) int {
	return threadNews + int(uint32(pointer)*compile.ThreadMul>>(32-newsBits))*NewsSize
}

// system has the numbers of system calls.
type system struct {
	getpid, gettid, getuid, getgid, prctl, clockGettime, getcpu, readv, kill int32
}

var systems = map[string]system{
	"amd64": {39, 186, 102, 104, 157, 228, 309, 310, 62},
	"arm64": {172, 178, 174, 176, 167, 113, 168, 270, 129},
}

// ids is get_current_pid_tgid.
func (e *Env) ids() *code {
	c := newCode()
	slow, ask := c.label(), c.label()
	c.begin("ids", 0)
	c.helper(e.pointer())
	threadEntryOf(c, r2, r0, e.Threads)
	c.load(r3, r2, 0)
	c.when(program.JmpNe, r3, r0, slow)
	c.acquire(r1, r2, threadIDs)
	c.wheni(program.JmpEq, r1, 0, slow)
	c.mov(r0, r1)
	c.exit()
	c.here(slow)
	c.call(ask)
	c.exit()

	kernel := c.label()
	c.here(ask)
	c.begin("ask", 0)
	c.helper(compile.FnEntry)
	c.mov(r6, r0)
	c.wheni(program.JmpEq, r6, 0, kernel)
	c.acquire(r0, r6, threadIDs)
	c.wheni(program.JmpEq, r0, 0, kernel)
	c.exit()
	c.here(kernel)
	e.news(c)
	e.askIDs(c)
	c.exit()
	return c
}

// news ends the function with the thread's ids if there is news of it, and keeps them in the entry
// at r6, if r6 is not 0.
func (e *Env) news(c *code) {
	next, found, other, have, out, none := c.label(), c.label(), c.label(), c.label(), c.label(), c.label()
	c.helper(compile.FnThread)
	c.wheni(program.JmpEq, r0, 0, other)
	hashed(c, r2, r0, e.Threads+threadNews, newsBits, 4)
	c.mov(r4, r2)
	c.alui(program.AluAdd, r4, NewsProbes*NewsSize)
	c.here(next)
	c.acquire(r1, r2, 0)
	c.when(program.JmpEq, r1, r0, found)
	c.alui(program.AluAdd, r2, NewsSize)
	c.when(program.JmpLt, r2, r4, next)
	c.here(other)
	c.number(r1, uint64(e.Threads))
	c.acquire(r0, r1, ThreadOther)
	c.jump(have)
	c.here(found)
	c.load(r0, r2, 8)
	c.here(have)
	c.wheni(program.JmpEq, r0, 0, none)
	c.wheni(program.JmpEq, r6, 0, out)
	c.release(r6, threadIDs, r0)
	c.here(out)
	c.exit()
	c.here(none)
}

// NoOwner is the owner of a table for which the kernel must be asked at each hit, since a child
// runs in the memory of its parent.
const NoOwner = math.MaxUint64

// process is compile.FnProcess.
func (e *Env) process() *code {
	c := newCode()
	ask, found := c.label(), c.label()
	c.begin("process", 0)
	c.number(r1, uint64(e.Threads))
	c.load(r0, r1, ThreadOwner)
	c.wheni(program.JmpEq, r0, 0, ask)
	c.wheni(program.JmpNe, r0, -1, found) // NoOwner
	c.here(ask)
	c.helper(compile.FnSyscall - systems[e.Context.Arch].getpid)
	c.mov(r6, r0)
	c.number(r1, uint64(e.Threads))
	c.movi(r0, 0)
	c.cas(r1, ThreadOwner, r6)
	c.mov(r0, r6)
	c.here(found)
	c.exit()
	return c
}

// askIDs asks the kernel for the ids, and keeps the answer in the entry at r6, if r6 is not 0.
func (e *Env) askIDs(c *code) {
	sys := systems[e.Context.Arch]
	c.helper(compile.FnSyscall - sys.gettid)
	c.mov(r7, r0)
	c.helper(compile.FnSyscall - sys.getpid)
	c.mov(r8, r0)
	c.mov(r9, r0)
	c.alui(program.AluLsh, r9, 32)
	c.alu(program.AluOr, r9, r7)
	out, owned := c.label(), c.label()
	c.wheni(program.JmpEq, r6, 0, out)
	c.number(r1, uint64(e.Threads)) // a child by vfork has its parent's memory and its parent's pointer
	c.movi(r0, 0)
	c.cas(r1, 0, r8)
	c.wheni(program.JmpEq, r0, 0, owned)
	c.when(program.JmpNe, r0, r8, out)
	c.here(owned)
	c.release(r6, threadIDs, r9)
	c.here(out)
	c.mov(r0, r9)
}

// entry is compile.FnEntry: it finds the thread's entry, or takes a free one with a slot.
func (e *Env) entry() *code {
	c := newCode()
	next, mine, found, none := c.label(), c.label(), c.label(), c.label()
	c.begin("entry", 0)
	c.helper(compile.FnThread)
	c.wheni(program.JmpEq, r0, 0, none) // a thread without pointer
	c.mov(r3, r0)
	c.mov(r5, r0)
	c.alui(program.AluOr, r5, threadBusy)
	threadEntryOf(c, r2, r3, e.Threads)
	c.mov(r4, r2)
	c.alui(program.AluAdd, r4, threadProbes*threadEntry)
	c.here(next)
	c.acquire(r0, r2, 0)
	c.when(program.JmpEq, r0, r3, found)
	c.when(program.JmpEq, r0, r5, mine) // a signal handler ran before the entry was ready
	taken := c.label()
	c.wheni(program.JmpNe, r0, 0, taken)
	c.cas(r2, 0, r5)
	c.wheni(program.JmpEq, r0, 0, mine)
	c.here(taken)
	c.alui(program.AluAdd, r2, threadEntry)
	c.when(program.JmpLt, r2, r4, next)
	c.here(none)
	c.result(0)

	c.here(mine)
	if e.Slots == 0 {
		c.release(r2, 0, r3)
		c.here(found)
		c.mov(r0, r2)
		c.exit()
		return c
	}
	take := c.label()
	c.mov(r6, r2)
	c.mov(r7, r3)
	c.call(take)
	c.store(r6, threadSlot, r0)
	c.mov(r2, r6)
	c.wheni(program.JmpGe, r0, maps.Slots, found) // it stays busy: each hit comes here, and counts as lost
	c.release(r6, 0, r7)
	c.here(found)
	c.mov(r0, r2)
	c.exit()
	c.here(take)
	e.takeSlot(c)
	return c
}

// takeSlot is a function that returns the number of a free slot, or maps.Slots: the next new slot
// or, if all have been taken, a slot of a process that has ended.
func (e *Env) takeSlot(c *code) {
	const noSuchProcess = -3 // ESRCH
	fresh, named, known, look, next, none := c.label(), c.label(), c.label(), c.label(), c.label(), c.label()
	sys := systems[e.Context.Arch]
	c.begin("slot", 8)
	c.number(r1, uint64(e.Slots)+maps.OffNextSlot)
	c.movi(r6, 1)
	c.fetchAdd(r1, 0, r6) // r6 is the slot
	if e.Owners == 0 {
		c.wheni(program.JmpLe, r6, maps.Slots, fresh)
		c.movi(r6, maps.Slots)
		c.here(fresh)
		c.mov(r0, r6)
		c.exit()
		return
	}
	c.number(r1, uint64(e.Threads)) // the owner of the table, if the kernel was asked
	c.load(r7, r1, 0)
	c.wheni(program.JmpNe, r7, 0, known)
	c.helper(compile.FnSyscall - sys.getpid)
	c.mov(r7, r0)
	c.here(known)
	c.movi(r8, maps.Slots) // tries left
	c.wheni(program.JmpGe, r6, maps.Slots, look)
	c.here(named)
	c.mov(r1, r6)
	c.alui(program.AluLsh, r1, 3)
	c.number(r2, uint64(e.Owners))
	c.alu(program.AluAdd, r1, r2)
	c.release(r1, 0, r7)
	c.mov(r0, r6)
	c.exit()

	c.here(look)
	first := int32(e.Set.CPUs() + 1)
	c.alui(program.AluMod, r6, maps.Slots-first)
	c.alui(program.AluAdd, r6, first)
	c.mov(r9, r6)
	c.alui(program.AluLsh, r9, 3)
	c.number(r2, uint64(e.Owners))
	c.alu(program.AluAdd, r9, r2)
	c.load(r1, r9, 0)
	c.wheni(program.JmpEq, r1, 0, next) // its owner has not entered an id yet
	c.when(program.JmpEq, r1, r7, next)
	c.store(r10, -8, r1)
	for _, r := range []uint8{r2, r3, r4, r5} {
		c.movi(r, 0)
	}
	c.helper(compile.FnSyscall - sys.kill)
	c.wheni(program.JmpNe, r0, noSuchProcess, next)
	c.load(r0, r10, -8)
	c.mov(r1, r0)
	c.cas(r9, 0, r7)
	c.when(program.JmpEq, r0, r1, named)
	c.here(next)
	c.alui(program.AluAdd, r8, -1)
	c.wheni(program.JmpEq, r8, 0, none)
	c.number(r1, uint64(e.Slots)+maps.OffNextSlot)
	c.movi(r6, 1)
	c.fetchAdd(r1, 0, r6)
	c.jump(look)
	c.here(none)
	c.result(maps.Slots)
}

// claim is the work of compile.FnClaim, for a wrapper that keeps all registers: it returns the
// thread's entry, or the one for threads that have none. It is called if the word at %fs:0 is not
// the pointer in the entry that it has led to. If that word is not the thread's pointer at all,
// code that uses it can't distinguish the thread from others.
func (e *Env) claim() *code {
	c := newCode()
	lost, out := c.label(), c.label()
	c.begin("claim", 0)
	c.helper(compile.FnThread)
	c.wheni(program.JmpEq, r0, 0, lost)
	c.load(r1, r0, 0)
	c.when(program.JmpNe, r1, r0, lost)
	c.helper(compile.FnEntry)
	c.wheni(program.JmpEq, r0, 0, lost)
	c.load(r1, r0, threadSlot)
	c.wheni(program.JmpLt, r1, maps.Slots, out)
	c.here(lost)
	c.number(r1, uint64(e.Lost))
	c.movi(r2, 1)
	c.add(r1, 0, r2)
	c.number(r0, uint64(e.Threads)+threadLost)
	c.movi(r1, maps.Slots)
	c.store(r0, threadSlot, r1)
	c.here(out)
	c.exit()
	return c
}

// stack is compile.FnStack.
func (e *Env) stack() *code {
	c := newCode()
	lost, there := c.label(), c.label()
	c.begin("stack", 0)
	c.helper(compile.FnEntry)
	c.wheni(program.JmpEq, r0, 0, lost)
	c.load(r1, r0, threadStack)
	c.wheni(program.JmpNe, r1, 0, there)
	c.load(r1, r0, threadSlot)
	c.wheni(program.JmpGe, r1, maps.Slots, lost)
	c.alui(program.AluAdd, r1, 1)
	c.alui(program.AluMul, r1, compile.OwnStackSize)
	c.number(r2, uint64(e.Stacks))
	c.alu(program.AluAdd, r1, r2)
	c.store(r0, threadStack, r1)
	c.here(there)
	c.exit()
	c.here(lost)
	c.number(r1, uint64(e.Lost))
	c.movi(r2, 1)
	c.add(r1, 0, r2)
	c.result(0)
	return c
}

// users is get_current_uid_gid.
func (e *Env) users() *code {
	c := newCode()
	sys := systems[e.Context.Arch]
	c.begin("users", 0)
	c.helper(compile.FnSyscall - sys.getuid)
	c.mov(r6, r0)
	c.helper(compile.FnSyscall - sys.getgid)
	c.alui(program.AluLsh, r0, 32)
	c.alu(program.AluOr, r0, r6)
	c.exit()
	return c
}

// name is get_current_comm: destination and its size are in r1 and r2.
func (e *Env) name() *code {
	const getName, size = 16, 16
	c := newCode()
	copying := c.label()
	c.begin("comm", size)
	c.low(r7, r2)
	c.mov(r6, r1)
	c.mov(r8, r1)
	c.movi(r1, getName)
	c.mov(r2, r10)
	c.alui(program.AluAdd, r2, -size)
	for _, r := range []uint8{r3, r4, r5} {
		c.movi(r, 0)
	}
	c.helper(compile.FnSyscall - systems[e.Context.Arch].prctl)
	c.mov(r1, r6)
	c.mov(r2, r7)
	c.clearLoop()
	c.mov(r3, r7) // the name with its end, cut if it does not fit
	out := c.label()
	c.wheni(program.JmpEq, r3, 0, out)
	c.alui(program.AluAdd, r3, -1)
	c.wheni(program.JmpLe, r3, size, copying)
	c.movi(r3, size)
	c.here(copying)
	c.mov(r1, r8)
	c.mov(r2, r10)
	c.alui(program.AluAdd, r2, -size)
	c.copyLoop()
	c.here(out)
	c.result(0)
	return c
}

// cpu is get_smp_processor_id if no instruction reads the number.
func (e *Env) cpu() *code {
	c := newCode()
	c.begin("cpu", 8)
	c.storei(r10, -8, 0)
	c.mov(r1, r10)
	c.alui(program.AluAdd, r1, -8)
	for _, r := range []uint8{r2, r3, r4, r5} {
		c.movi(r, 0)
	}
	c.helper(compile.FnSyscall - systems[e.Context.Arch].getcpu)
	c.loadSize(program.SizeW, r0, r10, -8)
	c.exit()
	return c
}

// random is get_prandom_u32: the counter of time, mixed.
func random() *code {
	c := newCode()
	c.begin("random", 0)
	c.helper(compile.FnCycles)
	for _, mul := range []uint64{hashMul, 0xbf58476d1ce4e5b9} {
		c.number(r1, mul)
		c.alu(program.AluMul, r0, r1)
		c.mov(r1, r0)
		c.alui(program.AluRsh, r1, 32)
		c.alu(program.AluXor, r0, r1)
	}
	c.low(r0, r0)
	c.exit()
	return c
}

// time is ktime_get_ns: the clock's page says how to convert the counter (package maps, SetClock).
func (e *Env) time() *code {
	c := newCode()
	c.begin("time", 0)
	done := c.label()
	const tries = 2 // the line changes once a second
	for range tries {
		newer, known := c.label(), c.label()
		c.region(r1, maps.OffClock)
		c.acquire(r2, r1, maps.ClockSeq)
		c.helper(compile.FnCycles)
		c.mov(r3, r2) // the newer line
		c.alui(program.AluAnd, r3, 2)
		c.alui(program.AluLsh, r3, 2)
		c.alu(program.AluAdd, r3, r1)
		c.acquire(r4, r3, maps.ClockCycles)
		c.alu(program.AluSub, r0, r4)
		c.wheni(program.JmpSge, r0, 0, known)
		c.wheni(program.JmpSet, r2, 1, newer)
		c.alu(program.AluAdd, r0, r4)
		c.alui(program.AluXor, r3, 8) // the older one
		c.acquire(r4, r3, maps.ClockCycles)
		c.alu(program.AluSub, r0, r4)
		c.wheni(program.JmpSge, r0, 0, known)
		c.here(newer)
		c.movi(r0, 0) // the counter of another CPU, which is behind
		c.here(known)
		c.acquire(r4, r3, maps.ClockNanos)
		c.acquire(r5, r3, maps.ClockMul)
		c.load(r1, r1, maps.ClockSeq)
		c.when(program.JmpEq, r1, r2, done)
	}
	c.here(done)
	c.helper(compile.FnScale - int32(maps.ClockShift(e.Context.Arch)))
	c.alu(program.AluAdd, r0, r4)
	c.exit()
	return c
}

// bootTime is ktime_get_boot_ns.
func (e *Env) bootTime() *code {
	const clock = 7 // CLOCK_BOOTTIME
	c := newCode()
	c.begin("boot", 16)
	c.movi(r1, clock)
	c.mov(r2, r10)
	c.alui(program.AluAdd, r2, -16)
	for _, r := range []uint8{r3, r4, r5} {
		c.movi(r, 0)
	}
	c.helper(compile.FnSyscall - systems[e.Context.Arch].clockGettime)
	c.load(r0, r10, -16)
	c.alui(program.AluMul, r0, 1e9)
	c.load(r1, r10, -8)
	c.alu(program.AluAdd, r0, r1)
	c.exit()
	return c
}
