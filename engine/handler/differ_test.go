package handler_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/helper"
	"github.com/ptracer/ptracer/engine/handler/interp"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/internal/native"
	"github.com/ptracer/ptracer/internal/randprog"
	"github.com/ptracer/ptracer/internal/skip"
)

// rounds is how many random programs are tried: PTRACER_RANDOM, or few.
func rounds(few int) uint64 {
	if n, err := strconv.ParseUint(os.Getenv("PTRACER_RANDOM"), 0, 64); err == nil {
		return n
	}
	if runtime.GOARCH == "arm64" {
		return uint64(few / 10) // an emulated CPU, as in the arm64 lane
	}
	return uint64(few)
}

// check verifies a program with all rights.
func check(t testing.TB, p *program.Program) (*verify.Result, error) {
	t.Helper()
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return verify.Check(p, verify.Options{Context: ctx, Rights: program.ReadMemory | program.WriteMemory | program.Override})
}

// env is a thread with registers only.
type env struct{ regs arch.Regs }

func (e *env) Regs() *arch.Regs                    { return &e.regs }
func (e *env) ReadMemory(arch.Addr, []byte) error  { return errors.ErrUnsupported }
func (e *env) WriteMemory(arch.Addr, []byte) error { return errors.ErrUnsupported }
func (e *env) Time() uint64                        { return 1 }
func (e *env) BootTime() uint64                    { return 1 }
func (e *env) PIDTGID() uint64                     { return 1 }
func (e *env) UIDGID() uint64                      { return 1 }
func (e *env) Comm() (name [16]byte)               { return name }
func (e *env) CPU() int                            { return 0 }
func (e *env) Stack([]uint64) int                  { return 0 }
func (e *env) Cookie() uint64                      { return 1 }
func (e *env) FuncIP() uint64                      { return 1 }
func (e *env) Print(string)                        {}

// outcome is what a run leaves behind.
type outcome struct {
	r0      uint64
	maps    string
	records string
}

// contentsOf is the contents of maps, independent of the executor. Values of CPUs are combined:
// which CPU ran (it is one, see onOneCPU) does not matter.
func contentsOf(entries func(i int) func(func([]byte, [][]byte) bool)) string {
	var all []string
	for i, m := range randprog.Maps {
		if m.Type == program.RingBuf {
			continue
		}
		for key, values := range entries(i) {
			sum := make([]byte, len(values[0]))
			for _, v := range values {
				for k := range v {
					sum[k] |= v[k] // one CPU's, the others are 0
				}
			}
			all = append(all, fmt.Sprintf("%s[%x]=%x", m.Name, key, sum))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// context is random registers, and as bytes.
func randomContext(rnd *rand.Rand) (regs arch.Regs, raw []byte) {
	for i := range randprog.ContextWords {
		regs[i] = rnd.Uint64() >> rnd.IntN(64)
	}
	for _, r := range regs {
		for k := range 8 {
			raw = append(raw, byte(r>>(8*k)))
		}
	}
	return regs, raw
}

// interpreted runs a program in the engine's way.
func interpreted(t testing.TB, r *verify.Result, contexts []arch.Regs) (out []outcome, err error) {
	t.Helper()
	h := &handler.Verified{Handler: build.One(build.Entry, r.Program, r.Context), Entry: r}
	m, err := handler.InEngine{}.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	x := m.(*handler.Interpreted)
	var machine interp.Machine
	for _, c := range contexts {
		r0, err := machine.Run(x.Code(build.Entry), &env{regs: c})
		if err != nil {
			return out, err
		}
		out = append(out, outcome{r0: r0, maps: contentsOf(func(i int) func(func([]byte, [][]byte) bool) { return x.Map(i).All() })})
	}
	out[len(out)-1].records = records(x.Map(randprog.Ring).Ring())
	return out, nil
}

func records(r *ring.Ring) string {
	var b strings.Builder
	rd := ring.NewReader(r, nil)
	for rec, ok := rd.Next(); ok; rec, ok = rd.Next() {
		fmt.Fprintf(&b, "%x\n", rec)
	}
	return b.String()
}

// inKernel runs it by BPF_PROG_TEST_RUN.
func inKernel(t testing.TB, p *program.Program, raw [][]byte) (out []outcome, err error) {
	t.Helper()
	k, err := kernel.LoadTest(p)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	for _, c := range raw {
		r0, err := k.Run(c)
		if err != nil {
			return out, err
		}
		out = append(out, outcome{r0: r0, maps: contentsOf(func(i int) func(func([]byte, [][]byte) bool) { return k.Map(i).All() })})
	}
	var b strings.Builder
	rd, err := k.Map(randprog.Ring).Ring()
	if err != nil {
		return out, err
	}
	for {
		rec, ok, err := rd.Next()
		if err != nil || !ok {
			out[len(out)-1].records = b.String()
			return out, err
		}
		fmt.Fprintf(&b, "%x\n", rec)
	}
}

// compiled runs it as machine code, on maps of its own; what it calls is machine
// code, too, or answered in Go.
func compiled(t testing.TB, m *native.Machine, r *verify.Result, contexts []arch.Regs, whole bool) (out []outcome, err error) {
	t.Helper()
	set, err := maps.New(r.Program.Maps, maps.Options{CPUs: runtime.NumCPU()})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	target := compile.Target{Base: m.Base(), Region: arch.Addr(uintptr(unsafe.Pointer(&set.Bytes()[0]))), Result: true, Helpers: map[compile.Helper]arch.Addr{}}
	for i := range set.Len() {
		at := compile.Map{Header: set.Map(i).Offset()}
		at.Data, at.Stride, at.CPUStride = set.Map(i).Values()
		at.CPUs = set.Map(i).Layout().CPUs
		target.Maps = append(target.Maps, at)
	}
	for _, n := range []int32{program.FnMapLookup, program.FnMapUpdate, program.FnMapDelete, program.FnRingbufReserve, program.FnRingbufSubmit, program.FnRingbufDiscard} {
		for i := range set.Len() + 1 {
			target.Helpers[compile.Helper{Num: n, Map: i - 1}] = m.Helper(int(n))
		}
	}
	if whole {
		target.Helpers, target.Features = library(t, m, set, target.Region, r), handler.Features()
	}
	code, err := compile.Compile(r, target)
	if err != nil {
		return nil, err
	}
	h, err := m.Handler(code, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range contexts {
		hit := native.Hit{Regs: native.Thread(c), Help: helpers{set, uint64(target.Region)}.call}
		for i := range randprog.ContextWords {
			hit.Regs[i] = c[i]
		}
		r0, err := h.Run(&hit)
		if err != nil {
			return out, err
		}
		out = append(out, outcome{r0: r0, maps: contentsOf(func(i int) func(func([]byte, [][]byte) bool) { return set.Map(i).All() })})
	}
	out[len(out)-1].records = records(set.Map(randprog.Ring).Ring())
	return out, nil
}

// library puts the helpers that a program calls beside it.
func library(t testing.TB, m *native.Machine, set *maps.Set, region arch.Addr, r *verify.Result) map[compile.Helper]arch.Addr {
	t.Helper()
	const place, threads = 256 << 10, 3 << 20
	data, at := m.Data()
	clear(data[threads:][:helper.ThreadsSize])
	e := helper.Env{Context: r.Context, Set: set, Region: region, Threads: at + threads, Features: handler.Features()}
	lib, err := e.Make(helper.Needed(r.Context, r), m.Base()+place)
	if err == nil {
		err = m.LoadAt(place, lib.Code)
	}
	if err != nil {
		t.Fatal(err)
	}
	return lib.At
}

// helpers are the helpers that compiled code calls, on a set with its region at base.
type helpers struct {
	set  *maps.Set
	base uint64
}

func (h helpers) call(num int32, args [5]uint64) uint64 {
	switch num {
	case program.FnRingbufSubmit, program.FnRingbufDiscard:
		r := h.set.Map(randprog.Ring).Ring()
		if num == program.FnRingbufSubmit {
			r.Submit(int(args[0] - h.base))
		} else {
			r.Discard(int(args[0] - h.base))
		}
		return 0
	}
	var m *maps.Map
	for i := range h.set.Len() {
		if uint64(h.set.Map(i).Offset()) == args[0]-h.base {
			m = h.set.Map(i)
		}
	}
	if num == program.FnRingbufReserve {
		off, ok := m.Ring().Reserve(int(args[1]), 1)
		if !ok {
			return 0
		}
		return h.base + uint64(off)
	}
	key := native.Bytes(args[1], int(m.Spec().KeySize))
	switch num {
	case program.FnMapLookup:
		off, ok := m.Lookup(key, 0)
		if !ok {
			return 0
		}
		return h.base + uint64(off)
	case program.FnMapUpdate:
		return result(m.Update(key, native.Bytes(args[2], int(m.Spec().ValueSize)), args[3], 0))
	}
	return result(m.Delete(key))
}

func result(err error) uint64 {
	var e maps.Error
	if errors.As(err, &e) {
		return -uint64(e.Errno())
	}
	return 0
}

// onOneCPU keeps the test on one CPU until the function it returns is called:
// runs that follow each other find in per-CPU maps what the one before left.
func onOneCPU(t *testing.T) (leave func()) {
	t.Helper()
	runtime.LockOSThread()
	mask := ptrace.Affinity()
	for cpu := range runtime.NumCPU() {
		if ptrace.SetCPU(cpu) == nil {
			return func() {
				_ = ptrace.SetAffinity(&mask)
				runtime.UnlockOSThread()
			}
		}
	}
	t.Fatal("no CPU to run on")
	return nil
}

// TestExecutorsAgree runs random programs that both verifiers accept in all
// executors, several times each: the same results, maps and records.
func TestExecutorsAgree(t *testing.T) {
	withKernel := kernel.Available() == nil
	m, err := native.New()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	defer onOneCPU(t)()
	ran, inBoth := 0, 0
	for seed := range rounds(400) {
		p := randprog.New(seed, randprog.Options{Steps: 5 + int(seed%40), Sloppy: 0.002})
		r, err := check(t, p)
		if err != nil {
			continue
		}
		rnd := rand.New(rand.NewPCG(seed, 9))
		var contexts []arch.Regs
		var raw [][]byte
		for range 3 {
			regs, b := randomContext(rnd)
			contexts, raw = append(contexts, regs), append(raw, b[:r.Context.Size])
		}
		want, err := interpreted(t, r, contexts)
		if err != nil {
			t.Fatalf("seed %d: accepted, and fails: %v\n%s", seed, err, text(p))
		}
		ran++
		got, err := compiled(t, m, r, contexts, false)
		compare(t, seed, "compiled", p, got, want, err)
		got, err = compiled(t, m, r, contexts, true)
		compare(t, seed, "with compiled helpers", p, got, want, err)
		if withKernel {
			got, err := inKernel(t, p, raw)
			if refused := new(ebpf.VerifierError); errors.As(err, &refused) {
				continue // TestVerifiersAgree is about that
			}
			compare(t, seed, "the kernel", p, got, want, err)
			inBoth++
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d programs, %d also in the kernel", ran, inBoth)
	if ran < 20 || withKernel && inBoth < ran/2 {
		t.Errorf("only %d programs, %d in the kernel", ran, inBoth)
	}
	if !withKernel {
		skip.Missing(t, "eBPF in the kernel")
	}
}

func compare(t *testing.T, seed uint64, who string, p *program.Program, got, want []outcome, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("seed %d: %s: %v\n%s", seed, who, err, text(p))
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("seed %d, run %d: %s: %#x\n%s\n%s\nthe interpreter: %#x\n%s\n%s\n%s", seed, i, who,
				got[i].r0, got[i].maps, got[i].records, want[i].r0, want[i].maps, want[i].records, text(p))
			return
		}
	}
}

func text(p *program.Program) string {
	var b bytes.Buffer
	_ = p.WriteText(&b)
	return b.String()
}

// prune takes out what the verifier has shown never to run: it folds divisions,
// swaps of bytes and operations of a register with itself, and so knows some
// branches that the kernel's does not.
func prune(r *verify.Result) *program.Program {
	old := r.Program
	p := *old
	p.Insns, p.Funcs = nil, nil
	runs := func(i int) bool { return i < len(old.Insns) && r.Facts[i].Reached }
	place := make([]int, len(old.Insns)+1)
	var from []int
	for i := 0; i < len(old.Insns); i++ {
		place[i] = len(p.Insns)
		in := old.Insns[i]
		for _, f := range old.Funcs {
			if f.Start == i && runs(i) {
				p.Funcs = append(p.Funcs, program.Func{Name: f.Name, Start: len(p.Insns)})
			}
		}
		switch {
		case !runs(i):
			if in.Wide() {
				i++
				place[i] = len(p.Insns)
			}
			continue
		case in.IsJump() && !in.Always() && !runs(in.Target(i)):
			continue
		case in.IsJump() && !in.Always() && !runs(i+1):
			in = program.Insn{Op: program.ClassJmp | program.JmpA, Off: in.Off}
		}
		p.Insns, from = append(p.Insns, in), append(from, i)
		if in.Wide() {
			i++
			place[i] = len(p.Insns)
			p.Insns, from = append(p.Insns, old.Insns[i]), append(from, i)
		}
	}
	for k := range p.Insns {
		switch in := &p.Insns[k]; {
		case k > 0 && p.Insns[k-1].Wide():
		case in.IsJump():
			in.Off = int16(place[in.Target(from[k])] - k - 1)
		case in.IsCall() && in.Src == program.CallFunc:
			in.Imm = int32(place[from[k]+1+int(in.Imm)] - k - 1)
		}
	}
	return &p
}

// TestVerifiersAgree has both verifiers check random programs with mistakes: ptracer's must refuse
// what the kernel refuses. What it refuses beyond that is counted.
func TestVerifiersAgree(t *testing.T) {
	if kernel.Available() != nil {
		skip.Missing(t, "eBPF in the kernel")
	}
	few := rounds(1500)
	if runtime.GOARCH == "arm64" {
		few /= 3 // the kernel's is slow there, too
	}
	both, neither, pruned := 0, 0, 0
	stricter := map[string]int{}
	for seed := range few {
		p := randprog.New(seed, randprog.Options{Steps: 3 + int(seed%30), Sloppy: []float64{0, 0.01, 0.05}[seed%3]})
		r, ours := check(t, p)
		log, theirs := kernel.Check(p)
		if ours == nil && theirs != nil { // it may not see what never runs
			pruned++
			log, theirs = kernel.Check(prune(r))
		}
		switch {
		case ours == nil && theirs == nil:
			both++
		case ours != nil && theirs != nil:
			neither++
		case ours != nil:
			stricter[reason(ours)]++
			if os.Getenv("PTRACER_RANDOM") != "" && stricter[reason(ours)] <= 2 {
				t.Logf("seed %d: stricter than the kernel: %v\n%s", seed, ours, text(p))
			}
		default:
			t.Errorf("seed %d: the kernel refuses, we do not: %v\n%s\n%s", seed, theirs, lastLines(log), text(p))
			if t.Failed() && os.Getenv("PTRACER_RANDOM") == "" {
				return
			}
		}
	}
	t.Logf("%d accepted by both, %d of them without what never runs; %d by none; by the kernel only: %v", both, pruned, neither, stricter)
	only := 0
	for _, n := range stricter {
		only += n
	}
	if least := int(few) / 8; pruned > both/100 || both < least || neither < least || only > both/10 {
		t.Errorf("%d accepted by both, %d pruned, %d by none, %d by the kernel only", both, pruned, neither, only)
	}
}

// reason is the subject of a refusal by ptracer, without the particulars.
func reason(err error) string {
	var e *verify.Error
	if errors.As(err, &e) {
		return e.Err.Error() + ": " + strings.Join(strings.FieldsFunc(e.Needed, func(c rune) bool { return c >= '0' && c <= '9' }), "N")
	}
	return err.Error()
}

func lastLines(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
