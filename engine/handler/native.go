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

// InTracee is the executor in the traced program itself: threads that hit run machine code, on the
// same maps. Its Open returns *Interpreted, since the engine handles places that can't have a jump.
type InTracee struct {
	// Stack is how many bytes of the program's stack the code may use; 0: enough. Own: the code can
	// run on stacks of ptracer's.
	Stack int
	Own   bool
	// File makes the file for a handler's maps; nil: a file in memory.
	File func() (*os.File, error)
}

// Open makes a handler's maps, if its programs have machine code.
func (e InTracee) Open(h *Verified) (Maps, error) {
	m, err := InEngine{e.File, Slotted(h.Handler.Context)}.Open(h)
	if err != nil {
		return nil, err
	}
	x := m.(*Interpreted)
	x.tracee = &e
	if err := x.native(h, e); err != nil {
		err = unsupported(err)
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// native checks that a handler's programs have machine code, and keeps the clock of the maps if they
// ask for the time. The owner of the maps stops keeping it.
func (x *Interpreted) native(h *Verified, in InTracee) error {
	const far = 1 << 32 // any address will do
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
	}
	return nil
}

// Helpers returns the helpers that a handler's programs call, and the environment to make them for
// in a program that has the maps at region; the caller adds the table of threads.
func (x *Interpreted) Helpers(h *Verified, region arch.Addr) (helper.Env, []compile.Helper) {
	ctx := h.Handler.Context
	env := helper.Env{Context: ctx, Set: x.Set, Region: region, Features: Features()}
	return env, helper.Needed(ctx, h.Entry, h.Exit)
}

// Slotted reports whether threads of programs with a context can have slots of maps of their own on
// this machine (package maps). It needs a pointer to thread-local data that the ABI defines and an
// instruction reads.
func Slotted(ctx program.Context) bool {
	return ctx.Arch == "amd64" && Features()&compile.FSBase != 0
}

// Stacked reports whether programs with a context can run on stacks of ptracer's on this machine,
// if the program's stacks have no room.
func Stacked(ctx program.Context) bool { return ctx.Arch == "arm64" || Slotted(ctx) }

// Claim returns the environment and the helpers for the code with which a program's threads find
// their slots. The next free slot is in the counters' set, at region.
func (c *Counters) Claim(region arch.Addr) (helper.Env, []compile.Helper) {
	env := helper.Env{Context: c.ctx, Set: c.set, Region: region, Slots: region, Lost: region + maps.OffLost, Owners: c.Owners(region), Self: true, Features: Features()}
	return env, []compile.Helper{ClaimSlot}
}

// Owners is the address of the owners of slots in a program that has the counters' set at region.
func (c *Counters) Owners(region arch.Addr) arch.Addr {
	data, _, _ := c.set.ByName(ownersMap.Name).Values()
	return region + arch.Addr(data)
}

// Helpers with which threads find what is theirs: slots of maps, and stacks.
var (
	ClaimSlot = compile.Helper{Num: compile.FnClaim, Map: compile.NoMap}
	TakeStack = compile.Helper{Num: compile.FnStack, Map: compile.NoMap}
)

// Piece is a program with its maps, one of those that run at a place.
type Piece struct {
	Program *verify.Result
	Set     *maps.Set
	Region  arch.Addr // of the maps, in the program's memory
	Way     compile.Way
	Helpers map[compile.Helper]arch.Addr // the helpers that it calls
	// Threads is the address of the program's table of threads; 0: threads take no slots.
	Threads arch.Addr
	// Moved is by how many bytes the program sees the maps' data further on than the set has them:
	// its element 0 is a later element of the set.
	Moved int
	// Template is for pieces that differ only in Moved and in their addresses; nil: none.
	Template *compile.Template
}

// unsupported returns why programs have no machine code.
func unsupported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return &failure.Unsupported{Err: err}
}

// errAtomics is returned for CPUs with loops for atomic additions: a thread that is stepped through
// such a loop never leaves it.
var errAtomics = failure.Unsupportedf("the CPU has no atomic instructions (LSE)")

// NativeAvailable returns why programs with a context can't have machine code here at all, nil if
// they can.
func NativeAvailable(ctx program.Context) error {
	if ctx.Arch == "arm64" && Features()&compile.LSE == 0 {
		return errAtomics
	}
	return nil
}

// Native returns the machine code of programs, for address base, which a thread of the traced
// program runs through.
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
				CPUs: l.CPUs, Slotted: l.Slotted && p.Threads != 0})
		}
		parts[i] = compile.Part{Result: p.Program, Target: t, Way: p.Way, Template: p.Template, Moved: p.Moved}
	}
	return compile.Inline(parts, base)
}

// Features are the features of this machine's CPUs, on which the program runs too.
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

// capabilities is the word AT_HWCAP2 of the auxiliary vector: it has whether the kernel lets
// programs read the thread pointer with an instruction (arch/x86/include/uapi/asm/hwcap2.h).
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

// counterCount is how many counters one set has.
const counterCount = 4096

// Counters are counts of hits that threads of traced programs increment, one for each place, per
// CPU if the machine allows it.
type Counters struct {
	set     *maps.Set
	slots   *maps.Set // the set with the next free slot
	ctx     program.Context
	used    int
	program *verify.Result // the program of counter 0
}

// NewCounters makes counters for programs with a context, in a file that file makes; nil: in
// memory. The programs' next free slot is in the set slots; nil: in the counters' own.
func NewCounters(ctx program.Context, slots *maps.Set, file func() (*os.File, error)) (*Counters, error) {
	specs := []program.Map{counterMap(ctx)}
	if slots == nil && Slotted(ctx) {
		specs = append(specs, ownersMap)
	}
	set, err := maps.New(specs, maps.Options{CPUs: possibleCPUs(), Slots: Slotted(ctx), File: file})
	if err != nil {
		return nil, err
	}
	return &Counters{set: set, slots: cmp.Or(slots, set), ctx: ctx}, nil
}

// counterMap has a value for each CPU if an instruction reads the CPU's number.
func counterMap(ctx program.Context) program.Map {
	m := program.Map{Name: "hits", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: counterCount}
	if ctx.Arch != "amd64" {
		m.Type = program.Array
	}
	return m
}

// ownersMap has the id of the process that each slot belongs to; 0: none yet.
var ownersMap = program.Map{Name: "owners", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: maps.Slots}

// InUse is how many slots belong to processes for which alive returns true, among those that the
// counters' set hands out.
func (c *Counters) InUse(alive func(pid int) bool) (n int) {
	known := map[uint64]bool{}
	data, stride, _ := c.set.ByName(ownersMap.Name).Values()
	for slot := range c.set.NextSlot() {
		pid := ring.Word(c.set.Bytes(), data+slot*stride).Load()
		if _, ok := known[pid]; !ok {
			known[pid] = pid != 0 && alive(int(pid))
		}
		if known[pid] {
			n++
		}
	}
	return n
}

// Set is the set of the counters' maps.
func (c *Counters) Set() *maps.Set { return c.set }

// Take returns the next counter; false if there are no more.
func (c *Counters) Take() (n int, ok bool) {
	if c.used == counterCount {
		return 0, false
	}
	c.used++
	return c.used - 1, true
}

// Program returns the program that adds 1 to counter 0; Moved makes it count in counter n.
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

// Moved is the distance from counter 0 to counter n, in bytes.
func (c *Counters) Moved(n int) int { return n * c.set.Map(0).Layout().Stride }

// Count is the value of counter n.
func (c *Counters) Count(n int) uint64 {
	l := c.set.Map(0).Layout()
	values := l.CPUs
	if l.Slotted {
		values = c.slots.NextSlot()
	}
	var sum uint64
	for v := range values {
		sum += ring.Word(c.set.Bytes(), l.Data+n*l.Stride+v*l.CPUStride).Load()
	}
	return sum
}

// CountIn is the value of counter n of the counters in a set, summed over the values inUse
// (maps.Map, InUse).
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

// Close unmaps the counters.
func (c *Counters) Close() error { return c.set.Close() }
