package builtin

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// guard puts a guard with a map in front of a handler's first program.
func guard(h *build.Handler, kind string, g func(*build.Builder)) (*build.Handler, error) {
	out, maps, err := h.Before(h.First(), g)
	if err != nil {
		return nil, err
	}
	note := build.Guard{Kind: kind}
	if len(maps) > 0 {
		note.Map = maps[0].Name
	}
	out.Guards = append([]build.Guard{note}, h.Guards...)
	if read := h.Read; read != nil && h.Entry != nil && h.Exit != nil {
		out.Read = func(s build.Source) (build.Result, error) {
			r, err := read(s)
			return withoutOrphans(r), err
		}
	}
	return out, nil
}

// Filter lets a handler run only if a condition holds, evaluated where the handler begins. In a
// handler with two programs, such as latency, a call with a refused entry has no exit either;
// Calls.If is a condition on the return value. Cost: the condition's own instructions.
func Filter(h *build.Handler, e *filter.Expr) (*build.Handler, error) {
	at := h.First()
	if h.Entry != nil && h.Exit != nil && e.UsesRet() {
		return nil, fmt.Errorf("%w: %s: %s begins at the entry, where there is no result yet; ask at the exit", ErrParams, e.Text(), h.Name)
	}
	if err := checkPoint(at, e); err != nil {
		return nil, err
	}
	if e.Needs() == 0 {
		return guard(h, "filter", func(b *build.Builder) { e.Guard(b, nil) })
	}
	return guard(h, "filter", func(b *build.Builder) {
		unread := b.Map(program.Map{Name: "unread", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
		e.Guard(b, func() {
			b.Index(unread, 0)
			b.Inc(build.At(build.R0, 0))
		})
	})
}

// ReadUnread is how many hits the conditions in front of a handler could not decide, since memory
// that they read could not be read. Map "unread" of each, per-CPU array of 1.
func ReadUnread(s build.Source, guards []build.Guard) (n uint64) {
	for _, g := range guards {
		if g.Kind != "filter" || g.Map == "" {
			continue
		}
		for _, values := range s.Entries(g.Map) {
			n += total(values, 0)
		}
	}
	return n
}

// single makes a map with one value, shared by all CPUs.
func single(b *build.Builder, name string, size int) build.Map {
	return b.Map(program.Map{Name: name, Type: program.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1})
}

// maxEvery is the largest n of Every.
const maxEvery = 1<<31 - 1

// Every lets a handler run at the first of every n hits. Map "every", array of 1: the hits so far.
// Cost: an addition to a word that all CPUs share, and a division if n is not a power of 2.
func Every(h *build.Handler, n uint32) (*build.Handler, error) {
	if n == 0 || n > maxEvery {
		return nil, fmt.Errorf("%w: one of every %d hits: 1 to %d are possible", ErrParams, n, maxEvery)
	}
	return guard(h, "every", func(b *build.Builder) {
		yes := b.NewLabel()
		b.Index(single(b, "every", 8), 0)
		b.Const(build.R1, 1)
		b.FetchAdd(build.At(build.R0, 0), build.R1)
		if n&(n-1) == 0 {
			b.Add(asm.And.Imm(build.R1, int32(n-1)))
		} else {
			b.Add(asm.Mod.Imm(build.R1, int32(n)))
		}
		b.JumpIf(build.Eq(build.R1, 0), yes)
		b.Stop()
		b.Here(yes)
	})
}

// maxRate is the largest n of Rate, in hits per second.
const maxRate = 1 << 30

// Rate lets a handler run at most n times per second, in seconds of the monotonic clock. Map
// "rate", array of 1: the second in the upper half of 8 bytes, the number of runs in that second in
// the lower half. Cost: the clock, and an addition to a word that all CPUs share until the rate is
// reached; then only a read of it.
func Rate(h *build.Handler, n uint32) (*build.Handler, error) {
	if n == 0 || n > maxRate {
		return nil, fmt.Errorf("%w: a rate of %d hits a second: 1 to %d are possible", ErrParams, n, maxRate)
	}
	return guard(h, "rate", func(b *build.Builder) { rate(b, int64(n)) })
}

// rateTries is how often a thread tries to begin a new second while other threads do.
const rateTries = 4

func rate(b *build.Builder, n int64) {
	word, second := b.Var(), b.Var()
	same, yes, no := b.NewLabel(), b.NewLabel(), b.NewLabel()
	b.Time(second)
	b.Add(asm.Div.Imm(second, int32(time.Second)), asm.LSh.Imm(second, 32))
	b.Index(single(b, "rate", 8), 0)
	b.Move(word, build.R0)
	b.Load(build.R0, build.At(word, 0))
	for range rateTries {
		b.Move(build.R2, build.R0)
		upper(b, build.R3, build.R0)
		b.JumpIf(build.Eq(build.R3, 0).With(second), same)
		b.JumpIf(build.Gt(build.R3, 0).With(second), no) // the other thread's clock is ahead
		b.Move(build.R4, second)
		b.Add(asm.Or.Imm(build.R4, 1))
		b.Swap(build.At(word, 0), build.R4)
		b.JumpIf(build.Eq(build.R0, 0).With(build.R2), yes)
	}
	b.Jump(no)

	b.Here(same)
	b.Add(asm.Mov.Reg32(build.R2, build.R2))
	b.JumpIf(build.Ge(build.R2, n), no)
	b.Const(build.R4, 1)
	b.FetchAdd(build.At(word, 0), build.R4)
	upper(b, build.R3, build.R4)
	b.JumpIf(build.Ne(build.R3, 0).With(second), no)
	b.Add(asm.Mov.Reg32(build.R4, build.R4))
	b.JumpIf(build.Lt(build.R4, n), yes)
	b.Here(no)
	b.Stop()
	b.Here(yes)
	b.Free(word, second)
}

// upper sets dst to src with a lower half of 0.
func upper(b *build.Builder, dst, src build.Reg) {
	b.Move(dst, src)
	b.Add(asm.RSh.Imm(dst, 32), asm.LSh.Imm(dst, 32))
}

// Limit lets a handler run hits times, and no longer than life after its first hit; 0 means no
// limit. Map "limit", array of 1: the hits so far, up to the limit and a few more; and the end, in
// nanoseconds of the monotonic clock. Cost: an addition to a word that all CPUs share while there
// are hits left, and the clock if life is limited.
func Limit(h *build.Handler, hits uint64, life time.Duration) (*build.Handler, error) {
	if hits > 1<<62 || life < 0 || hits == 0 && life == 0 {
		return nil, fmt.Errorf("%w: a limit of %d hits and %v", ErrParams, hits, life)
	}
	out, err := guard(h, "limit", func(b *build.Builder) { limit(b, int64(hits), life) })
	if err == nil {
		out.Guards[0].Hits = hits
	}
	return out, err
}

const (
	limitHits = 0
	limitEnd  = 8
)

func limit(b *build.Builder, hits int64, life time.Duration) {
	now, state := b.Var(), b.Var()
	yes, no, running := b.NewLabel(), b.NewLabel(), b.NewLabel()
	if life > 0 {
		b.Time(now)
	}
	b.Index(single(b, "limit", 16), 0)
	b.Move(state, build.R0)
	if life > 0 {
		b.Load(build.R1, build.At(state, limitEnd))
		b.If(build.Eq(build.R1, 0), func() {
			b.Const(build.R2, int64(life))
			b.Add(asm.Add.Reg(build.R2, now))
			b.Const(build.R0, 0)
			b.Swap(build.At(state, limitEnd), build.R2)
			b.Jump(running)
		})
		b.JumpIf(build.Ge(now, 0).With(build.R1), no)
	}
	b.Here(running)
	b.Const(build.R1, 1)
	if hits > 0 {
		b.Load(build.R2, build.At(state, limitHits))
		b.JumpIf(build.Ge(build.R2, hits), no)
		b.FetchAdd(build.At(state, limitHits), build.R1)
		b.JumpIf(build.Lt(build.R1, hits), yes)
	} else {
		b.AddTo(build.At(state, limitHits), build.R1)
		b.Jump(yes)
	}
	b.Here(no)
	b.Stop()
	b.Here(yes)
	b.Free(now, state)
}

// LimitState is the state of a limit.
type LimitState struct {
	Hits uint64        `json:"hits"`          // let through
	End  time.Duration `json:"end,omitempty"` // in time of the monotonic clock; 0: none, or no hit yet
	Done bool          `json:"done"`          // the hits are used up
}

// ReadLimit reads the state of a guard made by Limit.
func ReadLimit(s build.Source, g build.Guard) (l LimitState) {
	for _, values := range s.Entries(g.Map) {
		l.Hits, l.End = total(values, limitHits), time.Duration(total(values, limitEnd))
	}
	if g.Hits > 0 {
		l.Done = l.Hits >= g.Hits
		l.Hits = min(l.Hits, g.Hits)
	}
	return l
}
