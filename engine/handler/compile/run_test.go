package compile

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/native"
)

// runner runs compiled programs of a test.
type runner struct {
	t      testing.TB
	m      *native.Machine
	h      *native.Handler // what was loaded last
	data   []byte
	at     arch.Addr
	help   func(num int32, args [5]uint64) uint64
	cookie uint64
}

// Where the maps are in the machine's data.
const (
	regionAt   = 0
	regionSize = 1 << 20
)

func newRunner(t testing.TB) *runner {
	m, err := native.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &runner{t: t, m: m}
	r.data, r.at = m.Data()
	return r
}

// helpers are the addresses of helpers that r.help answers.
func (r *runner) helpers(nums ...int32) map[Helper]arch.Addr {
	h := make(map[Helper]arch.Addr)
	for _, n := range nums {
		h[Helper{Num: n, Map: NoMap}] = r.m.Helper(int(n))
	}
	return h
}

// target is one that says where this runner has the maps.
func (r *runner) target(t Target) Target {
	t.Base, t.Result = r.m.Base(), true
	if t.Region == 0 {
		t.Region = r.at + regionAt
	}
	for i := range t.Maps {
		if t.Maps[i].Stride == 0 {
			t.Maps[i] = Map{Header: 4096 * i, Data: 4096*i + 64, Stride: 24, CPUStride: 128}
		}
	}
	return t
}

func (r *runner) region() []byte { return r.data[regionAt:][:regionSize] }

// emulated reports whether the CPU is probably emulated, as in the arm64 lane, where new code is
// slow to run.
const emulated = runtime.GOARCH == "arm64"

var cases int

// left out are all cases but one in n where the CPU is emulated; n has nothing
// to do with how many cases there are of a kind.
func leftOut(n int) bool {
	cases++
	return emulated && cases%n != 0
}

// host is the machine's own instruction set.
const host = runtime.GOARCH

// load compiles res and puts it into memory.
func (r *runner) load(res *verify.Result, t Target) *Code {
	r.t.Helper()
	t = r.target(t)
	code, err := Compile(res, t)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.h, err = r.m.Handler(code, t.Called); err != nil {
		r.t.Fatal(err)
	}
	return code
}

// run runs what was loaded in a thread with registers regs, and gives R0 and
// the thread's registers behind it.
func (r *runner) run(regs *arch.Regs) (uint64, arch.Regs, error) {
	hit := native.Hit{Regs: *regs, Cookie: r.cookie, FuncIP: 0xf00d, Help: r.help}
	r0, err := r.h.Run(&hit)
	return r0, hit.Regs, err
}

// randomRegs are registers of a thread.
func randomRegs(rnd *rand.Rand) (r arch.Regs) {
	for i := range r {
		r[i] = rnd.Uint64()
	}
	return native.Thread(r)
}

// variants are the targets that each program is tried with.
func (r *runner) variants() map[string]Target {
	all := map[string]Target{
		"inlined": {}, "called": {Called: true}, "far": {Region: 0x1234500000000},
		"features": {Features: RDPID | LSE},
	}
	if !hasFeatures() {
		delete(all, "features")
	}
	return all
}

// result compiles res for each variant and wants r0 from all.
func (r *runner) result(res *verify.Result, regs *arch.Regs, want uint64) {
	r.t.Helper()
	for name, t := range r.variants() {
		if name == "far" && len(res.Program.Maps) > 0 {
			continue
		}
		t.Maps = make([]Map, len(res.Program.Maps))
		t = r.target(t)
		code := r.load(res, t)
		got, after, err := r.run(regs)
		switch {
		case err != nil:
			r.t.Errorf("%s: %v\n% x", name, err, code.Bytes)
		case got != want:
			r.t.Errorf("%s: %#x, not %#x\n% x", name, got, want, code.Bytes)
		}
		for w := range after {
			if after[w] != regs[w] && !code.Writes.Has(w) {
				r.t.Errorf("%s: the thread's word %d is %#x, was %#x", name, w, after[w], regs[w])
			}
		}
	}
}
