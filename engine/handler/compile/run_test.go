package compile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/native"
)

// runner runs compiled programs the way a probe will: it fills in the frame as
// the code asks for, gives back what the code says it changes, and fails if
// anything else changed.
type runner struct {
	t      testing.TB
	m      *native.Machine
	data   []byte
	at     arch.Addr
	help   func(num int32, args [5]uint64) uint64
	cookie uint64
}

// Where things are in the machine's data.
const (
	regionAt   = 0 // the maps
	regionSize = 1 << 20
	frameAt    = 2 << 20 // the frame; the stack is below it
	stackSize  = 2 << 10
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

// helperBase is how helpers' numbers become those of stubs.
func (r *runner) helpers(nums ...int32) map[int32]arch.Addr {
	h := make(map[int32]arch.Addr)
	for _, n := range nums {
		h[n] = r.m.Helper(int(n))
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

// emulated is whether the CPU is likely not there, as in the arm64 lane, where
// new code is slow to run.
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
	text := code.Bytes
	if !t.Called {
		text = append(text[:len(text):len(text)], native.Jump(t.Base+arch.Addr(len(text)), r.m.Exit())...)
	}
	if err := r.m.Load(text); err != nil {
		r.t.Fatal(err)
	}
	return code
}

// enter makes the registers and the frame for code, of a thread with registers
// regs.
func (r *runner) enter(code *Code, t Target, regs *arch.Regs) arch.Regs {
	frame := r.data[frameAt:]
	for i := range frameWords {
		v := uint64(0xdead000000000000 + uint64(i)<<8) // not filled in
		switch {
		case !(code.Reads | code.Clobbers).Has(i):
		case i < len(regs):
			v = regs[i]
		case i == FrameCookie:
			v = r.cookie
		case i == FrameFuncIP:
			v = 0xf00d
		}
		binary.LittleEndian.PutUint64(frame[8*i:], v)
	}
	in := *regs
	in[native.SP] = uint64(r.at) + frameAt - uint64(code.Locals)
	if t.Called {
		native.Call(&in, r.m.Exit())
	}
	return in
}

const frameWords = FrameWords

var zeros [stackSize]byte

// run runs code, from load, and gives R0 and what the thread's registers are
// behind it.
func (r *runner) run(code *Code, t Target, regs *arch.Regs) (uint64, arch.Regs, error) {
	clear(r.data[frameAt-stackSize : frameAt])
	in := r.enter(code, t, regs)
	out := in
	r.m.Run(r.m.Base(), &out, func(n int, now *arch.Regs) {
		args := [5]uint64{}
		for i := range args {
			args[i] = now[homes[host][1+i]]
		}
		if now[native.SP]%16 != callAlign {
			r.t.Errorf("helper %d: stack pointer %#x", n, now[native.SP])
		}
		v := r.help(int32(n), args)
		for _, w := range scratch[host] {
			now[w] = 0xbad0bad0bad0bad0
		}
		now[homes[host][0]] = v
	})
	r0 := out[homes[host][0]]
	return r0, r.leave(code, t, &in, &out, regs), r.check(code, &in, &out)
}

// homes are the words of the registers of R0 to R5, scratch those that helpers
// may change.
var homes = map[string][6]int{"amd64": {10, 14, 13, 12, 11, 9}, "arm64": {7, 0, 1, 2, 3, 4}}
var scratch = map[string][]int{"amd64": {10, 14, 13, 12, 11, 9, 6, 7, 8}, "arm64": {0, 1, 2, 3, 4, 7, 9, 10, 11, 12}}

// check says what code changed that it did not tell.
func (r *runner) check(code *Code, in, out *arch.Regs) error {
	for w := range in {
		if native.Kept(w) && in[w] != out[w] && !code.Clobbers.Has(w) && !(w == 30 && host == "arm64") {
			return fmt.Errorf("register word %d changed from %#x to %#x, Clobbers is %#x", w, in[w], out[w], code.Clobbers)
		}
	}
	if d := (in[native.Flags] ^ out[native.Flags]) & native.FlagsMask; d != 0 && !code.Flags {
		return fmt.Errorf("flags changed: %#x", d)
	}
	if want := r.at + frameAt; out[native.SP] != uint64(want)-uint64(code.Locals) {
		return fmt.Errorf("stack pointer is %#x", out[native.SP])
	}
	below := r.data[frameAt-stackSize : frameAt-code.Stack]
	if !bytes.Equal(below, zeros[:len(below)]) && !code.Calls {
		return fmt.Errorf("stack written more than %d bytes below the frame", code.Stack)
	}
	return nil
}

// leave gives the thread's registers back.
func (r *runner) leave(code *Code, _ Target, _, out, regs *arch.Regs) arch.Regs {
	now := *regs
	for w := range now {
		switch {
		case (code.Clobbers | code.Writes).Has(w):
			now[w] = binary.LittleEndian.Uint64(r.data[frameAt+8*w:])
		case native.Kept(w):
			now[w] = out[w]
		}
	}
	return now
}

// randomRegs are registers of a thread.
func randomRegs(rnd *rand.Rand) (r arch.Regs) {
	for i := range r {
		r[i] = rnd.Uint64()
	}
	r[native.Flags] = 0x202 | rnd.Uint64()&native.FlagsMask
	return r
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
		got, after, err := r.run(code, t, regs)
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
