package compile

import (
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/native"
)

// bench runs inlined code n times, in Go's loop.
func (r *runner) bench(code *Code, n int) {
	r.t.Helper()
	h, err := r.m.Handler(code, false)
	if err != nil {
		r.t.Error(err)
		return
	}
	in := h.Enter(&native.Hit{Regs: benchRegs()})
	r.m.Bench(r.m.Base(), &in, n)
}

// benchRegs are a thread's, with 1000 in word 3.
func benchRegs() arch.Regs {
	regs := randomRegs(rand.New(rand.NewPCG(1, 1)))
	regs[3] = 1000
	return regs
}

// BenchmarkCompile measures the compiler with 100 instructions.
func BenchmarkCompile(b *testing.B) {
	for _, arch := range archs {
		insns := histInsns(3)
		for len(insns) < 100 {
			insns = list(insns[:len(insns)-2], movK(1, 2), histInsns(3)[10:])
		}
		b.Run(arch, func(b *testing.B) {
			res := accepted(arch, insns[:], slots)
			target := goldenTarget(Target{}, 1)
			b.ReportMetric(float64(len(insns)), "insns")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compile(res, target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRun measures handlers, repeated inside machine code so that entry and exit are not
// included: "nothing" is the loop.
func BenchmarkRun(b *testing.B) {
	for _, c := range []struct {
		name  string
		insns []insn
		maps  []program.Map
		facts func(*verify.Result)
	}{
		{"nothing", list(movK(0, 0), exit()), counters, nil},
		{"count", countInsns(false), counters, nil},
		{"count per CPU", countInsns(false), perCPUCounters, nil},
		{"count per CPU, load and store", countInsns(true), perCPUCounters, plainFacts},
		{"hist", histInsns(3), slots, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRunner(b)
			target := r.cpuTarget(r.target(Target{Called: true, Maps: []Map{{Data: 64, Stride: 8, CPUStride: 64}}}))
			target.Result = false
			if hasFeatures() {
				target.Features = RDPID | LSE
			}
			res := accepted(host, c.insns, c.maps)
			if c.facts != nil {
				c.facts(res)
			}
			// A loop of the machine's own around calls of the code.
			loop, at := callLoop(r.m.Base())
			target.Base += at
			code, err := Compile(res, target)
			if err != nil {
				b.Fatal(err)
			}
			text := append(loop, code.Bytes...)
			loopEnd := r.m.Base() + arch.Addr(len(text))
			if err := r.m.Load(append(text, native.Jump(loopEnd, r.m.Exit())...)); err != nil {
				b.Fatal(err)
			}
			in := benchRegs()
			in[native.SP] = uint64(r.at) + native.FrameAt
			setLoop(&in, uint64(b.N), uint64(loopEnd))
			b.ResetTimer()
			r.m.Bench(r.m.Base(), &in, 1)
		})
	}
}
