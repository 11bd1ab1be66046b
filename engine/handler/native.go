package handler

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// InTracee is the executor in the traced program itself: machine code on the
// way of the threads that hit, on the same maps. The Maps that it opens are an
// *Interpreted, for places that can't be jumped from are served by the engine.
type InTracee struct {
	// Stack is how much of the program's stack the code may use, in bytes; 0:
	// enough.
	Stack int
	// File makes the file that a handler's maps lie in; nil: one in memory.
	File func() (*os.File, error)
}

// Open makes a handler's maps, if its program has code that needs no help.
func (e InTracee) Open(h *Verified) (Maps, error) {
	m, err := InEngine{e.File}.Open(h)
	if err != nil {
		return nil, err
	}
	x := m.(*Interpreted)
	for _, at := range []build.Point{build.Entry, build.Exit} {
		r := h.At(at)
		if r == nil {
			continue
		}
		if _, err := Native([]Piece{{r, x.Set, 2 << 32, compile.Way{Stack: e.Stack}}}, 1<<32); err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnsupported, err), m.Close())
		}
	}
	return m, nil
}

// Piece is a program with its maps, as one of those that run at a place.
type Piece struct {
	Program *verify.Result
	Set     *maps.Set
	Region  arch.Addr // of the maps, in the program's memory
	Way     compile.Way
}

// errAtomics is of CPUs whose atomic additions are loops: a thread that is
// stepped through one never comes to its end.
var errAtomics = fmt.Errorf("%w: the CPU has no atomic instructions (LSE)", ErrUnsupported)

// NativeAvailable is why programs of a context have no machine code here at all,
// nil if they have.
func NativeAvailable(ctx program.Context) error {
	if ctx.Arch == "arm64" && features()&compile.LSE == 0 {
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
		t := compile.Target{Region: p.Region, Features: features()}
		for i := range p.Set.Len() {
			m := compile.Map{Header: p.Set.Map(i).Offset()}
			m.Data, m.Stride, m.CPUStride = p.Set.Map(i).Values()
			t.Maps = append(t.Maps, m)
		}
		parts[i] = compile.Part{Result: p.Program, Target: t, Way: p.Way}
	}
	return compile.Inline(parts, base)
}

// features are those of this machine's CPUs, on which the program runs too.
var features = sync.OnceValue(func() (f compile.Feature) {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for name, has := range map[string]compile.Feature{" rdpid": compile.RDPID, " atomics": compile.LSE} {
		if strings.Contains(string(text), name) {
			f |= has
		}
	}
	return f
})

// counterCount is how many counters are made at once.
const counterCount = 4096

// Counters are numbers of hits that threads of traced programs add to, one for
// each place, where the machine allows it on each CPU.
type Counters struct {
	set   *maps.Set
	ctx   program.Context
	used  int
	first *verify.Result // of counter 0
}

// NewCounters makes counters for programs of a context, in a file that file
// makes; nil: in memory.
func NewCounters(ctx program.Context, file func() (*os.File, error)) (*Counters, error) {
	set, err := maps.New([]program.Map{counterMap(ctx)}, maps.Options{CPUs: possibleCPUs(), File: file})
	if err != nil {
		return nil, err
	}
	return &Counters{set: set, ctx: ctx}, nil
}

// counterMap has a value for each CPU where an instruction tells its number.
func counterMap(ctx program.Context) program.Map {
	m := program.Map{Name: "hits", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: counterCount}
	if ctx.Arch != "amd64" {
		m.Type = program.Array
	}
	return m
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

// Program adds 1 to counter n. They differ by that number only, and are
// verified once.
func (c *Counters) Program(n int) (*verify.Result, error) {
	if c.first == nil {
		b := build.New("hits", c.ctx)
		b.Index(b.Map(counterMap(c.ctx)), 0)
		b.Inc(build.At(build.R0, 0))
		p, err := b.Program()
		if err != nil {
			return nil, err
		}
		if c.first, err = verify.Check(p, verify.Options{Context: c.ctx}); err != nil {
			return nil, err
		}
	}
	r, p := *c.first, *c.first.Program
	p.Insns = slices.Clone(p.Insns)
	for i := range p.Insns {
		if in := &p.Insns[i]; in.Class() == program.ClassSt { // the key
			in.Imm = int32(n)
		}
	}
	r.Program = &p
	return &r, nil
}

// Count is what counter n says.
func (c *Counters) Count(n int) uint64 { return CountIn(c.set, n) }

// CountIn is what counter n says of the counters in a set, 0 where there is none.
func CountIn(set *maps.Set, n int) (sum uint64) {
	spec := set.Map(0).Spec()
	if n < 0 || n >= int(spec.MaxEntries) || spec.ValueSize != 8 {
		return 0
	}
	data, stride, cpuStride := set.Map(0).Values()
	cpus := 1
	if spec.Type == program.PerCPUArray {
		cpus = set.CPUs()
	}
	for cpu := range cpus {
		sum += ring.Word(set.Bytes(), data+n*stride+cpu*cpuStride).Load()
	}
	return sum
}

// Close takes the counters out of this process.
func (c *Counters) Close() error { return c.set.Close() }
