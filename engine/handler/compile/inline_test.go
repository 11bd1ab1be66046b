package compile

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/native"
)

// inlines are programs as they are put into the middle of others' code.
type inlined struct {
	name  string
	maps  []program.Map
	insns []insn
}

var inlines = []inlined{
	{"count", counters, countInsns(false)},
	{"direct", counters, directInsns()},
	{"per CPU", perCPUCounters, countInsns(false)},
	{"hist", slots, histInsns(5)},
	{"nothing", nil, list(movK(0, 0), exit())},
	{"context", slots, list(ldx(program.SizeDW, 3, 1, 8), ldx(program.SizeDW, 4, 1, 24), alu(program.ClassAlu64, program.AluAdd, 3, 4),
		loadValue(2, 0, 8), stx(program.SizeDW, 2, 3, 0), movK(0, 0), exit())},
	{"stack", slots, list(ldx(program.SizeDW, 3, 1, 16), stx(program.SizeDW, 10, 3, -512), mov(6, 10), addK(6, -512),
		ldx(program.SizeDW, 5, 6, 0), loadValue(2, 0, 16), stx(program.SizeDW, 2, 5, 0), movK(0, 0), exit())},
}

var flagsWord = map[string]int{"amd64": 18, "arm64": 33}

// TestInline runs programs in the middle of code: what they find is what they
// find when they have a frame made for them, and the thread notices nothing.
func TestInline(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	r := newRunner(t)
	for _, c := range inlines {
		for _, way := range []Way{{}, {Flags: true}, {Skip: 128}, {Flags: true, Skip: 128, PC: 0x1234567890, FuncIP: 7}} {
			if leftOut(3) {
				continue
			}
			res := accepted(host, c.insns, c.maps)
			target := r.cpuTarget(r.target(Target{Maps: make([]Map, len(c.maps))}))
			target.Result = false
			regs := randomRegs(rnd)
			clear(r.region())
			r.load(res, target)
			if _, _, err := r.run(&regs); err != nil {
				t.Fatal(err)
			}
			want := bytes.Clone(r.region())
			clear(r.region())
			part := Part{Result: res, Target: target, Way: way, Template: &Template{}}
			_, err := Inline([]Part{part}, target.Base+0x12340)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			code, err := Inline([]Part{part}, target.Base) // moved there, if it can be
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if err := sameMoved(part); err != nil {
				t.Errorf("%s, %+v: %v", c.name, way, err)
			}
			in, out := r.through(code, regs)
			if word := flagsWord[host]; !way.Flags {
				out[word] = in[word]
			}
			for w := range in {
				if in[w] != out[w] {
					t.Errorf("%s, %+v: the thread's word %d changes from %#x to %#x", c.name, way, w, in[w], out[w])
				}
			}
			if got := r.region(); !bytes.Equal(sums(got), sums(want)) {
				t.Errorf("%s, %+v: maps differ", c.name, way)
			}
		}
	}
}

// sameMoved returns an error unless a part with maps' data elsewhere gets the same code with its
// template as without.
func sameMoved(p Part) error {
	const by = 4096 + 64
	p.Moved, p.Target.Maps = p.Moved+by, slices.Clone(p.Target.Maps)
	for i := range p.Target.Maps {
		p.Target.Maps[i].Data += by
	}
	got, err := Inline([]Part{p}, p.Target.Base)
	if err != nil {
		return err
	}
	p.Template = nil
	want, err := Inline([]Part{p}, p.Target.Base)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("moved it is %x, not %x", got, want)
	}
	return err
}

// through goes through code as a thread does, and looks whether it leaves what
// is below the stack pointer and above alone.
func (r *runner) through(code []byte, regs arch.Regs) (in, out arch.Regs) {
	r.t.Helper()
	const sp, red = native.FrameAt, 128
	stack := r.data[sp-red : sp+64]
	for i := range stack {
		stack[i] = byte(i)
	}
	before := bytes.Clone(stack)
	text := append(bytes.Clone(code), native.Jump(r.m.Base()+arch.Addr(len(code)), r.m.Exit())...)
	if err := r.m.Load(text); err != nil {
		r.t.Fatal(err)
	}
	in = regs
	in[native.SP] = uint64(r.at) + sp
	out = in
	r.m.Run(r.m.Base(), &out, nil)
	if !bytes.Equal(stack[red:], before[red:]) {
		r.t.Errorf("the stack above changes")
	}
	return in, out
}

// sums adds up what each CPU has counted.
func sums(b []byte) []byte {
	var sum [8]byte
	for i, c := range b {
		sum[i%8] += c
	}
	return sum[:]
}

// TestInlineRedZone keeps what lies below the stack pointer.
func TestInlineRedZone(t *testing.T) {
	r := newRunner(t)
	for _, c := range inlines {
		target := r.cpuTarget(r.target(Target{Maps: make([]Map, len(c.maps))}))
		code, err := Inline([]Part{{Result: accepted(host, c.insns, c.maps), Target: target, Way: Way{Flags: true, Skip: 128}}}, target.Base)
		if err != nil {
			t.Fatal(err)
		}
		regs := randomRegs(rand.New(rand.NewPCG(1, 1)))
		r.through(code, regs)
		for i, b := range r.data[native.FrameAt-128 : native.FrameAt] {
			if b != byte(i) {
				t.Fatalf("%s: byte %d below the stack pointer has changed", c.name, 128-i)
			}
		}
	}
}

// TestInlineRefused are programs that can't run there.
func TestInlineRefused(t *testing.T) {
	target := Target{Base: 0x10000, Region: 0x20000, Maps: make([]Map, 1), Helpers: map[Helper]arch.Addr{{Num: program.FnKtimeGetNS, Map: NoMap}: 0x30000}}
	for name, c := range map[string]struct {
		insns []insn
		way   Way
	}{
		"helper": {list(call(program.FnKtimeGetNS), movK(0, 0), exit()), Way{Skip: 128, Stack: 1024, Helpers: 700}},
		"stack":  {histInsns(5), Way{Skip: 128, Stack: 200}},
	} {
		for _, isa := range []string{"amd64", "arm64"} {
			if _, err := Inline([]Part{{Result: accepted(isa, c.insns, slots), Target: target, Way: c.way}}, target.Base); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s, %s: %v", name, isa, err)
			}
		}
	}
}

// together are programs that add 1 somewhere, the last one if a register is
// what it is in the thread.
var together = append(inlines[:4:4], inlined{"filter", counters, list(ldx(program.SizeDW, 3, 1, filterWord[host]),
	loadValue(1, 0, 0), movK(2, 1), jumpK(program.ClassJmp, program.JmpNe, 3, filterValue, 1),
	atomic(program.SizeDW, 1, 2, 0, program.AluAdd), movK(0, 0), exit())})

// Where the first argument is, and what.
var filterWord = map[string]int16{"amd64": 8 * 14, "arm64": 0}

const filterValue = 0x1234567

// TestInlineTogether has several programs at one place, in any order.
func TestInlineTogether(t *testing.T) {
	r := newRunner(t)
	rnd := rand.New(rand.NewPCG(6, 6))
	for range 60 {
		if leftOut(3) {
			continue
		}
		regs := randomRegs(rnd)
		regs[filterWord[host]/8] = filterValue
		var parts []Part
		var base arch.Addr
		clear(r.region())
		n := 1 + rnd.IntN(6)
		for range n {
			c := together[rnd.IntN(len(together))]
			target := r.cpuTarget(r.target(Target{Maps: make([]Map, 1)}))
			base = target.Base
			parts = append(parts, Part{Result: accepted(host, c.insns, c.maps), Target: target, Way: Way{Flags: true, Skip: 128}})
		}
		code, err := Inline(parts, base)
		if err != nil {
			t.Fatal(err)
		}
		in, out := r.through(code, regs)
		if in != out {
			t.Errorf("%d parts: registers change:\n%x\n%x", n, in, out)
		}
		if got := sums(r.region())[0]; int(got) != n {
			t.Errorf("%d parts added %d", n, got)
		}
	}
}
