package handler

import (
	"cmp"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/clock"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/helper"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/failure"
)

// InTracee is the executor in the traced program itself: machine code on the
// way of the threads that hit, on the same maps. The Maps that it opens are an
// *Interpreted, for places that can't be jumped from are served by the engine.
type InTracee struct {
	// Stack is how much of the program's stack the code may use, in bytes; 0:
	// enough. Own: it has stacks of ours.
	Stack int
	Own   bool
	// File makes the file that a handler's maps lie in; nil: one in memory.
	File func() (*os.File, error)
}

// Open makes a handler's maps, if its program has code that needs no help.
func (e InTracee) Open(h *Verified) (Maps, error) {
	m, err := InEngine{e.File, Lined(h.Handler.Context)}.Open(h)
	if err != nil {
		return nil, err
	}
	x := m.(*Interpreted)
	if err := x.native(h, e); err != nil {
		err = unsupported(err)
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// native sees to it that a handler's programs have code, and keeps the clock, if
// they ask for the time.
func (x *Interpreted) native(h *Verified, in InTracee) error {
	const far = 1 << 32 // any place will do
	env, need := x.Helpers(h, 2*far)
	env.Threads = 3 * far
	lib, err := env.Make(need, 4*far)
	if err != nil {
		return err
	}
	for _, r := range []*verify.Result{h.Entry, h.Exit} {
		if r == nil {
			continue
		}
		way := compile.Way{Stack: in.Stack, Helpers: lib.Stack}
		if in.Own {
			way.Own = compile.OwnStack{Threads: env.Threads, Enter: 5 * far, Pool: 6 * far}
		}
		if _, err := Native([]Piece{{Program: r, Set: x.Set, Region: env.Region, Way: way, Helpers: lib.At}}, far); err != nil {
			return err
		}
	}
	if _, timed := lib.At[compile.Helper{Num: program.FnKtimeGetNS, Map: compile.NoMap}]; timed {
		if err := clock.Keep(x.Set); err != nil {
			return err
		}
		x.timed = true
	}
	return nil
}

// Helpers are the helpers that a handler's programs call, and what they are made
// for in a program that has the maps at region; where it has its threads is for the
// caller to say.
func (x *Interpreted) Helpers(h *Verified, region arch.Addr) (helper.Env, []compile.Helper) {
	ctx := h.Handler.Context
	env := helper.Env{Context: ctx, Set: x.Set, Region: region, Features: Features()}
	return env, helper.Needed(ctx, h.Entry, h.Exit)
}

// Lined is whether programs of a context can have threads take lines of maps of
// their own on this machine (package maps): where they have a pointer to their own
// data that both the ABI and an instruction tell.
func Lined(ctx program.Context) bool {
	return ctx.Arch == "amd64" && Features()&compile.FSBase != 0
}

// Stacked is whether programs of a context can run on stacks of ours on this machine,
// where the program's have no room.
func Stacked(ctx program.Context) bool { return ctx.Arch == "arm64" || Lined(ctx) }

// Claim is what the code by which a program's threads find their lines is made for,
// where the next free one is in the counters' set, at region.
func (c *Counters) Claim(region arch.Addr) (helper.Env, []compile.Helper) {
	env := helper.Env{Context: c.ctx, Set: c.set, Region: region, Lines: region, Lost: region + maps.OffLost, Owners: c.Owners(region), Self: true, Features: Features()}
	return env, []compile.Helper{ClaimLine}
}

// Owners is where the program has the owners of lines, if it has the counters' set at
// region.
func (c *Counters) Owners(region arch.Addr) arch.Addr {
	data, _, _ := c.set.ByName(ownersMap.Name).Values()
	return region + arch.Addr(data)
}

// What code calls by which threads find what is theirs: lines of maps, and stacks.
var (
	ClaimLine = compile.Helper{Num: compile.FnClaim, Map: compile.NoMap}
	TakeStack = compile.Helper{Num: compile.FnStack, Map: compile.NoMap}
)

// Piece is a program with its maps, as one of those that run at a place.
type Piece struct {
	Program *verify.Result
	Set     *maps.Set
	Region  arch.Addr // of the maps, in the program's memory
	Way     compile.Way
	Helpers map[compile.Helper]arch.Addr // those that it calls
	// Threads is the program's table of threads; 0: they take no lines.
	Threads arch.Addr
	// Moved is how many bytes the maps' data lie behind where the set has them: what is
	// element 0 to the program is another one.
	Moved int
	// Template is for pieces that differ in that and in where they lie only; nil: none.
	Template *compile.Template
}

// unsupported is why programs have no code.
func unsupported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return &failure.Unsupported{Err: err}
}

// errAtomics is of CPUs whose atomic additions are loops: a thread that is
// stepped through one never comes to its end.
var errAtomics = failure.Unsupportedf("the CPU has no atomic instructions (LSE)")

// NativeAvailable is why programs of a context have no machine code here at all,
// nil if they have.
func NativeAvailable(ctx program.Context) error {
	if ctx.Arch == "arm64" && Features()&compile.LSE == 0 {
		return errAtomics
	}
	return nil
}

// Native is the machine code of programs, to lie at base and to be passed
// through by a thread of the traced program.
func Native(pieces []Piece, base arch.Addr) ([]byte, error) {
	parts := make([]compile.Part, len(pieces))
	for i, p := range pieces {
		if err := NativeAvailable(p.Program.Context); err != nil {
			return nil, err
		}
		t := compile.Target{Region: p.Region, Features: Features(), Helpers: p.Helpers, Threads: p.Threads}
		for i := range p.Set.Len() {
			l := p.Set.Map(i).Layout()
			t.Maps = append(t.Maps, compile.Map{Header: l.Header, Data: l.Data + p.Moved, Stride: l.Stride, CPUStride: l.CPUStride,
				CPUs: l.CPUs, Lined: l.Lined && p.Threads != 0})
		}
		parts[i] = compile.Part{Result: p.Program, Target: t, Way: p.Way, Template: p.Template, Moved: p.Moved}
	}
	return compile.Inline(parts, base)
}

// Features are those of this machine's CPUs, on which the program runs too.
var Features = sync.OnceValue(func() (f compile.Feature) {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for name, has := range map[string]compile.Feature{" rdpid": compile.RDPID, " atomics": compile.LSE} {
		if strings.Contains(string(text), name) {
			f |= has
		}
	}
	if runtime.GOARCH == "amd64" && capabilities()&hwcapFSBase != 0 {
		f |= compile.FSBase
	}
	return f
})

// capabilities is the word AT_HWCAP2 of the auxiliary vector: whether the kernel
// lets programs read the thread pointer by an instruction
// (arch/x86/include/uapi/asm/hwcap2.h).
func capabilities() uint64 {
	const capabilities2 = 26
	vector, _ := os.ReadFile("/proc/self/auxv")
	for ; len(vector) >= 16; vector = vector[16:] {
		if binary.LittleEndian.Uint64(vector) == capabilities2 {
			return binary.LittleEndian.Uint64(vector[8:])
		}
	}
	return 0
}

const hwcapFSBase = 1 << 1

// counterCount is how many counters are made at once.
const counterCount = 4096

// Counters are numbers of hits that threads of traced programs add to, one for
// each place, where the machine allows it on each CPU.
type Counters struct {
	set     *maps.Set
	lines   *maps.Set // that has the next free line
	ctx     program.Context
	used    int
	program *verify.Result // of counter 0
}

// NewCounters makes counters for programs of a context, in a file that file makes;
// nil: in memory. The programs' next free line is in the set lines; nil: in the
// counters'.
func NewCounters(ctx program.Context, lines *maps.Set, file func() (*os.File, error)) (*Counters, error) {
	specs := []program.Map{counterMap(ctx)}
	if lines == nil && Lined(ctx) {
		specs = append(specs, ownersMap)
	}
	set, err := maps.New(specs, maps.Options{CPUs: possibleCPUs(), Lines: Lined(ctx), File: file})
	if err != nil {
		return nil, err
	}
	return &Counters{set: set, lines: cmp.Or(lines, set), ctx: ctx}, nil
}

// counterMap has a value for each CPU where an instruction tells its number.
func counterMap(ctx program.Context) program.Map {
	m := program.Map{Name: "hits", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: counterCount}
	if ctx.Arch != "amd64" {
		m.Type = program.Array
	}
	return m
}

// ownersMap says to which process each line belongs, by its id; 0: to none yet.
var ownersMap = program.Map{Name: "owners", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: maps.Lines}

// InUse is how many lines belong to processes that alive says are there, of those
// whose next free one is in the counters' set.
func (c *Counters) InUse(alive func(pid int) bool) (n int) {
	known := map[uint64]bool{}
	data, stride, _ := c.set.ByName(ownersMap.Name).Values()
	for line := range c.set.NextLine() {
		pid := ring.Word(c.set.Bytes(), data+line*stride).Load()
		if _, ok := known[pid]; !ok {
			known[pid] = pid != 0 && alive(int(pid))
		}
		if known[pid] {
			n++
		}
	}
	return n
}

// Set are the counters' maps.
func (c *Counters) Set() *maps.Set { return c.set }

// Take gives the next counter; false if there are no more.
func (c *Counters) Take() (n int, ok bool) {
	if c.used == counterCount {
		return 0, false
	}
	c.used++
	return c.used - 1, true
}

// Program adds 1 to counter 0; Moved makes it that of n.
func (c *Counters) Program() (*verify.Result, error) {
	if c.program != nil {
		return c.program, nil
	}
	b := build.New("hits", c.ctx)
	b.Index(b.Map(counterMap(c.ctx)), 0)
	b.Inc(build.At(build.R0, 0))
	p, err := b.Program()
	if err == nil {
		c.program, err = verify.Check(p, verify.Options{Context: c.ctx})
	}
	return c.program, err
}

// Moved is how far counter n lies behind counter 0, in bytes.
func (c *Counters) Moved(n int) int { return n * c.set.Map(0).Layout().Stride }

// Count is what counter n says.
func (c *Counters) Count(n int) uint64 {
	l := c.set.Map(0).Layout()
	values := l.CPUs
	if l.Lined {
		values = c.lines.NextLine()
	}
	var sum uint64
	for v := range values {
		sum += ring.Word(c.set.Bytes(), l.Data+n*l.Stride+v*l.CPUStride).Load()
	}
	return sum
}

// CountIn is what counter n says of the counters in a set, of which the values
// inUse are (maps.Map, InUse), 0 where there is none.
func CountIn(set *maps.Set, n int, inUse []int) (sum uint64) {
	spec := set.Map(0).Spec()
	if n < 0 || n >= int(spec.MaxEntries) || spec.ValueSize != 8 {
		return 0
	}
	data, stride, cpuStride := set.Map(0).Values()
	for _, v := range inUse {
		sum += ring.Word(set.Bytes(), data+n*stride+v*cpuStride).Load()
	}
	return sum
}

// Close takes the counters out of this process.
func (c *Counters) Close() error { return c.set.Close() }
