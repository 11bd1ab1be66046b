package builtin

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Calls says how a function's entry is paired with its exit. The zero value is
// right for C code.
type Calls struct {
	// Go pairs by goroutine, which may go on in another thread and move its
	// stack, instead of by thread. Needs the right to read memory.
	Go bool
	// Depth is how many calls of the function one thread may be in at a time,
	// a power of 2; 0: 512. Those beyond are counted, not measured.
	Depth int
	// Threads is how many threads or goroutines are known at a time; 0: 1024.
	// The least recently seen one makes room.
	Threads int
	// Popped is how many bytes the return has taken off the stack when the exit
	// program runs: 0 before a return instruction, 8 on amd64 behind it, where
	// the kernel's return probes run.
	Popped int
	// If is a condition on the return value, asked when a call has been paired:
	// a filter in front of the exit would leave frames behind that belong to no
	// call any more.
	If *filter.Expr
}

// frames keep for each thread a stack of the calls it is in: map "calls", LRU
// hash, its key the process and thread (8 bytes) or process and goroutine (16),
// its value
//
//	 0  how many frames there are
//	 8  calls that were left without a return
//	16  calls that were not kept: Depth others were open
//	24  frames: where the stack was, time, and what else is kept
//
// A frame's place on the stack says which call it is: at a function's return the
// stack pointer is what it was at its entry. So nothing is mixed up by recursion;
// a call that was left by longjmp or an exception is found to be deeper than the
// one that returns and is dropped; an exit without an entry (a filter at the
// entry, a probe planted meanwhile) finds no frame. What is not told apart: a call
// that was left, and before the next noted one another at the same place whose
// entry was filtered.
type frames struct {
	Calls
	m     build.Map
	size  int // of a frame
	saved int // words kept beside place and time
}

const (
	callsDepth = 0
	callsLost  = 8
	callsDeep  = 16
	callsFirst = 24
	framePos   = 0
	frameTime  = 8
	frameSaved = 16
)

// complete fills in what is not said.
func (c Calls) complete(b *build.Builder) Calls {
	if c.Depth == 0 {
		c.Depth = 512
	}
	if c.Threads == 0 {
		c.Threads = 1024
	}
	if c.Depth < 1 || c.Depth > 1024 || c.Depth&(c.Depth-1) != 0 {
		b.Fail("%w: depth %d is not a power of 2 up to 1024", ErrParams, c.Depth)
		c.Depth = 1
	}
	if c.If != nil && c.If.UsesArgs() {
		b.Fail("%w: %s: at the function's exit its arguments are gone", ErrParams, c.If.Text())
	}
	if c.Threads < 1 || c.Threads > 1<<20 {
		b.Fail("%w: %d threads", ErrParams, c.Threads)
	}
	return c
}

func newFrames(b *build.Builder, c Calls, saved int) frames {
	c = c.complete(b)
	f := frames{Calls: c, size: frameSaved + 8*saved, saved: saved}
	spec := program.Map{
		Name: "calls", Type: program.LRUHash, KeySize: 8,
		ValueSize: uint32(callsFirst + f.size*c.Depth), MaxEntries: uint32(c.Threads),
	}
	if c.Go {
		spec.KeySize = 16
	}
	f.m = b.Map(spec)
	return f
}

// locate leaves the key of the thread on the stack and in pos how deep its stack
// is, a number that falls with each call.
func (f frames) locate(b *build.Builder, pos build.Reg, fault build.Label) (key build.Mem) {
	if !f.Go {
		key = b.Slot(8)
		b.PIDTGID(build.R0)
		b.Store(key, build.R0)
		b.SP(pos)
		return key
	}
	key = b.Slot(16)
	b.PIDTGID(build.R0)
	b.Add(asm.RSh.Imm(build.R0, 32))
	b.Store(key, build.R0)
	b.Goroutine(build.R3)
	b.Store(key.Add(8), build.R3)
	// The stack's end, g.stack.hi, moves with the stack.
	b.Add(asm.Add.Imm(build.R3, 8))
	hi := b.Slot(8)
	b.Read(hi, build.R3)
	b.JumpIf(build.Ne(build.R0, 0), fault)
	b.SP(pos)
	b.Load(build.R1, hi)
	b.Add(asm.Sub.Reg(pos, build.R1))
	b.Release(hi)
	return key
}

// top leaves the number of frames in depth.
func (f frames) top(b *build.Builder, calls, depth build.Reg) {
	b.Load(depth, build.At(calls, callsDepth))
	// It is never more; verifiers want to be told.
	b.If(build.Gt(depth, int64(f.Depth)), func() { b.Const(depth, int64(f.Depth)) })
}

// frame loads the address of frame n, less callsFirst.
func (f frames) frame(b *build.Builder, dst, calls, n build.Reg) {
	b.Move(dst, n)
	b.Add(asm.And.Imm(dst, int32(f.Depth-1)), asm.Mul.Imm(dst, int32(f.size)), asm.Add.Reg(dst, calls))
}

// unwind drops frames from the top down to the first that is not deeper than
// pos: R2 is its address (see frame), R3 its place; without any it goes on at
// none. depth is then the number of frames below and with it.
func (f frames) unwind(b *build.Builder, calls, pos, depth build.Reg, deeper asm.JumpOp, none build.Label) {
	top, found, left := b.NewLabel(), b.NewLabel(), build.R4
	b.Const(left, int64(f.Depth)+1)
	b.Here(top)
	b.JumpIf(build.Eq(depth, 0), none)
	b.Move(build.R1, depth)
	b.Add(asm.Add.Imm(build.R1, -1))
	f.frame(b, build.R2, calls, build.R1)
	b.Load(build.R3, build.At(build.R2, callsFirst+framePos))
	b.JumpUnless(build.Cond{Op: deeper, Reg: build.R3}.With(pos), found)
	b.Move(depth, build.R1)
	b.Store(build.At(calls, callsDepth), depth)
	b.Const(build.R1, 1)
	b.AddTo(build.At(calls, callsLost), build.R1)
	b.Add(asm.Add.Imm(left, -1))
	b.JumpIf(build.Ne(left, 0), top)
	b.Stop()
	b.Here(found)
}

// push notes a call: the words in saved, and the time as late as it can.
func (f frames) push(b *build.Builder, saved []build.Mem, miss misses) {
	calls, pos, depth := b.Var(), b.Var(), b.Var()
	fault, full, place := b.NewLabel(), b.NewLabel(), b.NewLabel()
	key := f.locate(b, pos, fault)
	b.LookupOrInit(f.m, key, full)
	b.Move(calls, build.R0)
	f.top(b, calls, depth)
	// A frame at the same place is one that was left, too.
	f.unwind(b, calls, pos, depth, asm.JLE, place)
	b.Here(place)
	b.If(build.Ge(depth, int64(f.Depth)), func() {
		b.Inc(build.At(calls, callsDeep))
		b.Stop()
	})
	b.Time(build.R0)
	f.frame(b, build.R2, calls, depth)
	b.Store(build.At(build.R2, callsFirst+framePos), pos)
	b.Store(build.At(build.R2, callsFirst+frameTime), build.R0)
	for i, m := range saved {
		b.Load(build.R1, m)
		b.Store(build.At(build.R2, callsFirst+frameSaved+8*i), build.R1)
	}
	b.Add(asm.Add.Imm(depth, 1))
	b.Store(build.At(calls, callsDepth), depth)
	b.Release(key)
	b.Free(calls, pos, depth)
	b.Stop()
	if f.Go {
		miss.count(b, fault, missFault)
	}
	miss.count(b, full, missFull)
}

// pop finds the call that returns: since is how many nanoseconds it took, at least
// 1, the other words are in saved. Where there is no such call the program ends.
func (f frames) pop(b *build.Builder, since build.Reg, saved []build.Mem, miss misses) {
	calls, pos := b.Var(), b.Var()
	fault, none, found, unknown, depth := b.NewLabel(), b.NewLabel(), b.NewLabel(), b.NewLabel(), build.R5
	b.Time(since)
	key := f.locate(b, pos, fault)
	if f.Popped != 0 {
		b.Add(asm.Add.Imm(pos, int32(-f.Popped)))
	}
	b.Lookup(f.m, key, unknown)
	b.Move(calls, build.R0)
	f.top(b, calls, depth)
	f.unwind(b, calls, pos, depth, asm.JLT, none)
	b.JumpIf(build.Eq(build.R3, 0).With(pos), found)
	b.Here(none)
	b.Stop()
	miss.count(b, unknown, missOrphan)
	if f.Go {
		miss.count(b, fault, missFault)
	}
	b.Here(found)
	b.Store(build.At(calls, callsDepth), build.R1)
	b.Load(build.R3, build.At(build.R2, callsFirst+frameTime))
	b.Add(asm.Sub.Reg(since, build.R3))
	// Executors' clocks differ a little, and counters of time go in steps of some
	// ns; 0 would say that nobody knows.
	b.If(build.SLt(since, 1), func() { b.Const(since, 1) })
	for i, m := range saved {
		b.Load(build.R3, build.At(build.R2, callsFirst+frameSaved+8*i))
		b.Store(m, build.R3)
	}
	b.Release(key)
	b.Free(calls, pos)
	if f.If != nil {
		f.If.Guard(b, func() {
			b.Index(miss.m, 0)
			b.Inc(build.At(build.R0, missFault))
		})
	}
}

// Unpaired are calls whose entry and exit could not be paired.
type Unpaired struct {
	// Lost counts calls that were left in another way than by a return.
	Lost uint64 `json:"lost,omitempty"`
	// Deep counts calls that were made while as many as are kept (Calls.Depth) were
	// open in the thread or goroutine: recursion that is nested too deep.
	Deep uint64 `json:"deep,omitempty"`
	// Orphans counts exits in threads or goroutines of which no entry is known: of
	// calls that began before the probes did, or that were forgotten since more threads
	// than are known at a time (Calls.Threads) came to the function. With a guard at the
	// entry it is not known, and 0.
	Orphans uint64 `json:"orphans,omitempty"`
}

func readUnpaired(s build.Source) (u Unpaired) {
	for _, values := range s.Entries("calls") {
		u.Lost += total(values, callsLost)
		u.Deep += total(values, callsDeep)
	}
	for _, values := range s.Entries("misses") {
		u.Orphans += total(values, missOrphan)
	}
	return u
}

// withoutOrphans is a result of a handler whose entry has a guard: then most exits are
// of calls that it did not take.
func withoutOrphans(r build.Result) build.Result {
	switch r := r.(type) {
	case *Histogram:
		r.Orphans = 0
		return r
	case Unrecorded:
		r.Orphans = 0
		return r
	}
	return r
}

func (u Unpaired) text() string {
	var parts []string
	if u.Lost > 0 {
		parts = append(parts, plural(u.Lost, "call")+" without a pair")
	}
	if u.Deep > 0 {
		parts = append(parts, plural(u.Deep, "call")+" nested too deep to be measured")
	}
	if u.Orphans > 0 {
		parts = append(parts, plural(u.Orphans, "exit")+" without a known entry")
	}
	return strings.Join(parts, "; ")
}

func plural(n uint64, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
