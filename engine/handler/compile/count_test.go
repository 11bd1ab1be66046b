package compile

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/native"
)

// cpuTarget is a target that knows the number of the CPU: the machine's, or a number in place of a
// thread's rseq.
func (r *runner) cpuTarget(t Target) Target {
	t.RSeq = int(uint64(r.at)+native.FrameAt+4096) - threadPointer(r)
	return t
}

// TestPerCPU counts on the present CPU, with each way to read its number.
func TestPerCPU(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := newRunner(t)
	regs := randomRegs(rand.New(rand.NewPCG(9, 9)))
	perCPU := []program.Map{{Name: "p", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 5}}
	for _, features := range []Feature{0, RDPID | LSE} {
		if features != 0 && !hasFeatures() {
			continue
		}
		for _, known := range []bool{true, false} {
			for _, key := range []int32{0, 4, 5} {
				for _, cpuStride := range []int{128, 192} {
					regs[0] = uint64(key)
					code := list(keyed(known, key), jumpK(program.ClassJmp, program.JmpNe, 0, 0, 2), movK(0, 9), exit(),
						movK(1, 3), atomic(program.SizeDW, 0, 1, 0, 0), movK(0, 8), exit())
					target := r.cpuTarget(r.target(Target{Features: features, Maps: []Map{{Data: 64, Stride: 16, CPUStride: cpuStride}}}))
					clear(r.region())
					r.load(accepted(host, code, perCPU), target)
					got, _, err := r.run(&regs)
					if key == 5 {
						if got != 9 || err != nil {
							t.Errorf("key %d, known %v: %d, %v", key, known, got, err)
						}
						continue
					}
					sum := uint64(0)
					for cpu := range 1000 {
						sum += binary.LittleEndian.Uint64(r.region()[64+cpu*cpuStride+int(key)*16:])
					}
					if got != 8 || err != nil || sum != 3 {
						t.Errorf("key %d, known %v, stride %d: %d, %v, counted %d", key, known, cpuStride, got, err, sum)
					}
				}
			}
		}
	}
}

// TestExact counts in several threads at once: no count is lost, whether the
// program adds atomically or by a load and a store, per CPU or not.
func TestExact(t *testing.T) {
	const threads, times = 4, 30000
	shared := newRunner(t)
	target := shared.target(Target{Maps: make([]Map, 1)})
	for name, c := range map[string]struct {
		insns []insn
		maps  []program.Map
		facts func(*verify.Result)
	}{
		"atomic":          {countInsns(false), counters, nil},
		"load and store":  {countInsns(true), counters, plainFacts},
		"per CPU":         {countInsns(false), perCPUCounters, nil},
		"per CPU, stores": {countInsns(true), perCPUCounters, plainFacts},
		"hist":            {histInsns(3), slots, nil},
	} {
		t.Run(name, func(t *testing.T) {
			clear(shared.region())
			var all sync.WaitGroup
			for range threads {
				all.Go(func() {
					runtime.LockOSThread()
					r := newRunner(t)
					own := r.cpuTarget(target)
					own.Base, own.Region, own.Result = r.m.Base(), target.Region, false
					res := accepted(host, c.insns, c.maps)
					if c.facts != nil {
						c.facts(res)
					}
					code, err := Compile(res, own)
					if err != nil {
						t.Error(err)
						return
					}
					r.bench(code, times)
				})
			}
			all.Wait()
			sum := uint64(0)
			for at := 64; at < 1<<18; at += 8 {
				sum += binary.LittleEndian.Uint64(shared.region()[at:])
			}
			if sum != threads*times {
				t.Errorf("counted %d, not %d", sum, threads*times)
			}
		})
	}
}
