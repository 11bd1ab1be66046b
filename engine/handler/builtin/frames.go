package builtin

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Calls says how to pair a function's entry with its exit. The zero value is right for C code.
type Calls struct {
	// Go pairs by goroutine instead of by thread, since a goroutine may change its thread and move
	// its stack. It requires the right to read memory.
	Go bool
	// Depth is how many nested calls of the function in one thread are kept, a power of 2; 0: 512.
	// Deeper calls are counted, not measured.
	Depth int
	// Threads is how many threads or goroutines are known at a time; 0: 1024. A new one replaces
	// the one seen least recently.
	Threads int
	// Popped is how many bytes the return has removed from the stack when the exit program runs: 0
	// before a return instruction, 8 on amd64 behind it, where the kernel's return probes run.
	Popped int
	// If is a condition on the return value, evaluated after a call has been paired: a filter in
	// front of the exit would leave frames behind that belong to no call any more.
	If *filter.Expr
}

// frames keeps for each thread a stack of its open calls: map "calls", LRU hash. The key is process
// and thread (8 bytes) or process and goroutine (16). The value is
//
//	 0  number of frames
//	 8  calls that ended without a return
//	16  calls that were not kept: Depth others were open
//	24  frames: stack position, time, and other kept words
//
// A frame's stack position tells which call it belongs to: at a function's return the stack pointer
// is what it was at the entry. So recursion causes no mix-up. A call that longjmp or an exception
// has ended is found to be deeper than the call that returns, and is dropped. An exit without an
// entry (a filter at the entry, a probe planted meanwhile) finds no frame. One case is not
// detected: a call that ended without a return is followed, before the next recorded call, by a
// call at the same position with a filtered entry.
type frames struct {
	Calls
	m     build.Map
	size  int // of a frame
	saved int // words kept besides position and time
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

// complete fills in the defaults.
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

// locate puts the key of the thread on the stack, and into pos the stack position, a number that
// decreases with each nested call.
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

// top loads the number of frames into depth.
func (f frames) top(b *build.Builder, calls, depth build.Reg) {
	b.Load(depth, build.At(calls, callsDepth))
	// It is never more; the comparison tells verifiers so.
	b.If(build.Gt(depth, int64(f.Depth)), func() { b.Const(depth, int64(f.Depth)) })
}

// frame loads the address of frame n, minus callsFirst.
func (f frames) frame(b *build.Builder, dst, calls, n build.Reg) {
	b.Move(dst, n)
	b.Add(asm.And.Imm(dst, int32(f.Depth-1)), asm.Mul.Imm(dst, int32(f.size)), asm.Add.Reg(dst, calls))
}

// unwind drops frames from the top down to the first that is not deeper than pos. R2 is that
// frame's address (see frame), R3 its position; if there is none the program continues at none.
// depth is then the number of frames that remain.
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

// push records a call: the words in saved, and the time, read as late as possible.
func (f frames) push(b *build.Builder, saved []build.Mem, miss misses) {
	calls, pos, depth := b.Var(), b.Var(), b.Var()
	fault, full, place := b.NewLabel(), b.NewLabel(), b.NewLabel()
	key := f.locate(b, pos, fault)
	b.LookupOrInit(f.m, key, full)
	b.Move(calls, build.R0)
	f.top(b, calls, depth)
	// A frame at the same position is of a call that ended without a return, too.
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

// pop finds the call that returns. since is its duration in nanoseconds, at least 1, and saved
// receives the other words. If there is no such call the program ends.
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
	// Executors' clocks differ a little, and counters of time advance in steps of some ns; 0 would
	// mean that the duration is not known.
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

// Unpaired counts calls with an entry and an exit that could not be paired.
type Unpaired struct {
	// Lost counts calls that ended in another way than by a return.
	Lost uint64 `json:"lost,omitempty"`
	// Deep counts calls made while Calls.Depth calls were open in the same thread or goroutine:
	// recursion that is nested too deep.
	Deep uint64 `json:"deep,omitempty"`
	// Orphans counts exits in threads or goroutines without a known entry: their calls began before
	// the probes did, or were forgotten because more than Calls.Threads threads have called the
	// function. With a guard at the entry the number is not known, and 0.
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

// withoutOrphans is the result of a handler with a guard at the entry: most exits are then of calls
// that the guard has refused.
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
