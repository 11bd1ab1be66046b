// Package helper makes the helpers that handlers call, as machine code in the traced program beside
// the handlers' own: lookups and updates of hashes, records in rings, the time, ids, reads of
// memory.
//
// Each helper is a small program in the portable form, made for the maps that it works on and
// compiled like a handler, so that there is one source for all instruction sets. The verifier does
// not check helpers: they belong to this module, work on the memory that packages maps and ring
// describe, in the same steps, and use the compiler's primitives (the thread pointer, the counter
// of time, system calls). Every loop in them ends, whatever the program has written into that
// memory.
//
// The package is pure: it imports the compiler, and the forms of programs and of maps.
package helper

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile"
	layout "github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/failure"
)

// Env is the environment that helpers are made for.
type Env struct {
	Context  program.Context
	Set      *layout.Set // the maps that the program has
	Region   arch.Addr   // where the program has them
	Threads  arch.Addr   // its table of threads
	Slots    arch.Addr   // address of the set with the next free slot; 0: threads take none
	Owners   arch.Addr   // address of the words with the owners of slots, by process; 0: there are none
	Lost     arch.Addr   // address of the word that counts hits that find no slot, or no stack
	Stacks   arch.Addr   // ptracer's stacks (compile.OwnStack): one for each slot, or a pool
	Self     bool        // threads' pointers are read as FnSelf
	Features compile.Feature
}

// Library is machine code of helpers.
type Library struct {
	Code  []byte // for the address that it was made for
	At    map[compile.Helper]arch.Addr
	Stack int // bytes that the deepest of them uses, including the return address of its caller
}

// Needed returns the helpers that programs call, except those that the compiler inlines.
func Needed(ctx program.Context, programs ...*verify.Result) []compile.Helper {
	need := map[compile.Helper]bool{}
	for _, r := range programs {
		if r == nil {
			continue
		}
		for i, in := range r.Program.Insns {
			if in.IsCall() && in.Src == program.CallHelper && r.Facts[i].Reached {
				need[compile.Helper{Num: in.Imm, Map: mapOf(r, i)}] = true
			}
		}
	}
	maps.DeleteFunc(need, func(h compile.Helper, _ bool) bool {
		switch h.Num {
		case program.FnLoop, program.FnGetAttachCookie, program.FnGetFuncIP:
			return true
		case program.FnSMPProcessorID:
			return ctx.Arch == "amd64"
		}
		return false
	})
	list := slices.SortedFunc(maps.Keys(need), order)
	if !need[compile.Helper{Num: program.FnCurrentPIDTGID, Map: compile.NoMap}] {
		return list
	}
	list = append(list, compile.Helper{Num: compile.FnProcess, Map: compile.NoMap})
	for _, h := range list {
		if h.Num == program.FnMapLookup && h.Map >= 0 {
			list = append(list, compile.Helper{Num: compile.FnOwn, Map: h.Map})
		}
	}
	return list
}

func order(a, b compile.Helper) int {
	if a.Num != b.Num {
		return int(a.Num - b.Num)
	}
	return a.Map - b.Map
}

// mapOf returns the map that call i uses, NoMap if it uses none.
func mapOf(r *verify.Result, i int) int {
	h := program.Helpers[r.Program.Insns[i].Imm]
	if h == nil || !slices.Contains(h.Args, program.ArgMap) {
		return compile.NoMap
	}
	return r.Facts[i].Map
}

// Make makes the code of helpers for address base. Errors wrap a failure.Unsupported if a helper
// can't be made.
func (e *Env) Make(need []compile.Helper, base arch.Addr) (*Library, error) {
	l := &Library{At: map[compile.Helper]arch.Addr{}}
	for _, h := range e.dependencies(need) {
		if h.Num == compile.FnStack && e.pooled() {
			l.At[h] = base + arch.Addr(len(l.Code))
			l.Code = append(l.Code, compile.EnterPool(e.Stacks, e.Lost)...)
			l.pad()
			continue
		}
		c, err := e.source(h)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue // the compiler inlines it after all
		}
		calls := l.At
		if h.Num == compile.FnOwn { // its lookup is the lookup of its map
			calls = maps.Clone(l.At)
			calls[compile.Helper{Num: program.FnMapLookup, Map: compile.NoMap}] = l.At[compile.Helper{Num: program.FnMapLookup, Map: h.Map}]
		}
		code, err := e.compile(h, c, base+arch.Addr(len(l.Code)), calls)
		if err != nil {
			return nil, err
		}
		l.At[h] = base + arch.Addr(len(l.Code))
		l.Code = append(l.Code, code.Bytes...)
		if h.Num == compile.FnClaim || h.Num == compile.FnStack {
			l.wrap(h, base)
		}
		if h.Num == compile.FnStack {
			l.Code = append(l.Code, 0xcc) // execution must not run into it
			at := base + arch.Addr(len(l.Code))
			l.Code = append(l.Code, compile.Enter(at, l.At[h], e.Stacks, e.Lost)...)
			l.At[h] = at
		}
		l.pad()
		l.Stack = max(l.Stack, code.Stack)
	}
	l.Stack *= 3 // a helper calls another, which may call a third
	return l, nil
}

// pad makes the next helper begin at a multiple of 16.
func (l *Library) pad() { l.Code = append(l.Code, make([]byte, -len(l.Code)&15)...) }

// pooled reports whether ptracer's stacks are in a pool.
func (e *Env) pooled() bool { return e.Context.Arch == "arm64" }

// wrap lets code that keeps all registers call a helper.
func (l *Library) wrap(h compile.Helper, base arch.Addr) {
	at := base + arch.Addr(len(l.Code))
	l.Code = append(l.Code, compile.Wrapper(at, l.At[h])...)
	l.At[h] = at
	l.Stack += compile.WrapperStack
}

// dependencies returns the helpers, each after those that it calls.
func (e *Env) dependencies(need []compile.Helper) (all []compile.Helper) {
	var add func(h compile.Helper)
	add = func(h compile.Helper) {
		if slices.Contains(all, h) {
			return
		}
		for _, num := range e.calls(h) {
			add(compile.Helper{Num: num, Map: compile.NoMap})
		}
		all = append(all, h)
	}
	for _, h := range need {
		add(h)
	}
	return all
}

// pointer is the primitive for the thread's pointer, except at a thread's first hit: there only
// rdfsbase is reliable.
func (e *Env) pointer() int32 {
	if e.Self {
		return compile.FnSelf
	}
	return compile.FnThread
}

// calls returns the helpers that a helper calls.
func (e *Env) calls(h compile.Helper) []int32 {
	switch h.Num {
	case program.FnProbeReadUser, program.FnProbeReadUserStr:
		return []int32{compile.FnProcess}
	case program.FnRingbufReserve, program.FnRingbufOutput, program.FnPerfEventOutput, compile.FnOwn:
		return []int32{program.FnCurrentPIDTGID}
	case compile.FnStack:
		if e.pooled() {
			return nil
		}
		fallthrough
	case program.FnCurrentPIDTGID, compile.FnClaim:
		return []int32{compile.FnEntry}
	case program.FnMapUpdate:
		if e.Slots != 0 && h.Map >= 0 && h.Map < e.Set.Len() && e.Set.Map(h.Map).Layout().Slotted {
			return []int32{compile.FnEntry}
		}
	}
	return nil
}

// source returns a helper's program.
func (e *Env) source(h compile.Helper) (*code, error) {
	if h.Map >= 0 {
		return e.withMap(h)
	}
	switch h.Num {
	case program.FnKtimeGetNS:
		return e.time(), nil
	case program.FnKtimeGetBootNS:
		return e.bootTime(), nil
	case program.FnPrandomU32:
		return random(), nil
	case program.FnSMPProcessorID:
		return e.cpu(), nil
	case program.FnCurrentPIDTGID:
		return e.ids(), nil
	case compile.FnProcess:
		return e.process(), nil
	case compile.FnEntry:
		if e.Context.Arch == "amd64" && e.Features&compile.FSBase == 0 {
			return nil, failure.Unsupportedf("no instruction tells the thread's pointer (fsgsbase)")
		}
		return e.entry(), nil
	case compile.FnClaim, compile.FnStack:
		switch {
		case e.Context.Arch != "amd64" || e.Slots == 0:
			return nil, unsupported(h)
		case h.Num == compile.FnStack:
			return e.stack(), nil
		}
		return e.claim(), nil
	case program.FnCurrentUIDGID:
		return e.users(), nil
	case program.FnCurrentComm:
		return e.name(), nil
	case program.FnProbeReadUser:
		return e.read(), nil
	case program.FnProbeReadUserStr:
		return e.readString(), nil
	case program.FnStrncmp:
		return compare(), nil
	case program.FnRingbufSubmit, program.FnRingbufDiscard:
		c, how := newCode(), uint64(0)
		if h.Num == program.FnRingbufDiscard {
			how = ring.Discarded
		}
		c.end(how)
		return c, nil
	}
	return nil, unsupported(h)
}

// withMap returns the program of a helper that works on a map.
func (e *Env) withMap(h compile.Helper) (*code, error) {
	if h.Map >= e.Set.Len() {
		return nil, unsupported(h)
	}
	l := e.Set.Map(h.Map).Layout()
	switch spec := e.Set.Map(h.Map).Spec(); spec.Type {
	case program.Hash, program.LRUHash, program.PerCPUHash:
		return e.withHash(h, l)
	case program.Array, program.PerCPUArray:
		switch h.Num {
		case program.FnMapLookup, compile.FnOwn:
			return nil, nil
		case program.FnMapUpdate:
			return e.updateArray(l), nil
		case program.FnMapDelete:
			return refuseDelete(), nil
		}
	case program.RingBuf, program.PerfEvents:
		return withRing(h, records{newCode(), l})
	}
	return nil, unsupported(h)
}

func (e *Env) withHash(h compile.Helper, l layout.Layout) (*code, error) {
	const longest = 256
	if l.KeySize > longest {
		return nil, failure.Unsupportedf("keys of %d bytes", l.KeySize)
	}
	c := newHash(l)
	switch h.Num {
	case compile.FnOwn:
		if l.KeySize != 8 || l.CPUs > 1 {
			return nil, nil // not needed
		}
		c.own(e)
	case program.FnMapLookup:
		c.lookup()
	case program.FnMapUpdate:
		c.update()
	case program.FnMapDelete:
		c.deletion()
	default:
		return nil, unsupported(h)
	}
	return c.code, nil
}

func withRing(h compile.Helper, r records) (*code, error) {
	switch h.Num {
	case program.FnRingbufReserve:
		r.reserve()
	case program.FnRingbufOutput:
		r.output(r2, r3, eAgain)
	case program.FnPerfEventOutput:
		r.output(r4, r5, eNoSpace)
	case program.FnRingbufQuery:
		r.query()
	default:
		return nil, unsupported(h)
	}
	return r.code, nil
}

func unsupported(h compile.Helper) error {
	name := fmt.Sprint(h.Num)
	if known := program.Helpers[h.Num]; known != nil {
		name = known.Name
	}
	return failure.Unsupportedf("no machine code for %s", name)
}

var errUses = errors.New("helper: a stack of more than there is")

// compile makes a helper's code; at has the addresses of the helpers that it calls.
func (e *Env) compile(h compile.Helper, c *code, base arch.Addr, at map[compile.Helper]arch.Addr) (*compile.Code, error) {
	c.link()
	p := &program.Program{Name: fmt.Sprintf("helper %d", h.Num), Insns: c.insns, Funcs: c.funcs,
		Maps: []program.Map{{Name: "region", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}}}
	r := &verify.Result{Program: p, Context: e.Context, Stack: c.stack, Facts: make([]verify.Fact, len(p.Insns))}
	wide := false
	for i, in := range p.Insns {
		r.Facts[i] = verify.Fact{Reached: !wide, Map: compile.NoMap}
		wide = !wide && in.Wide()
	}
	for _, n := range c.stack {
		if n > program.StackSize {
			return nil, errUses
		}
	}
	t := compile.Target{Base: base, Region: e.Region, Maps: []compile.Map{{Stride: 8, CPUs: e.Set.CPUs()}}, Helpers: at,
		Features: e.Features, Called: true, Result: true, Helper: true}
	return compile.Compile(r, t)
}
