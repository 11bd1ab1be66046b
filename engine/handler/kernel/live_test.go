package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/fixture"
)

var counts = program.Map{Name: "counts", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1}

// parm1 and result are the places of a function's first argument and result in the context: struct
// pt_regs, struct user_pt_regs.
var parm1, result = map[string]int16{"amd64": 112, "arm64": 0}[runtime.GOARCH], map[string]int16{"amd64": 80, "arm64": 0}[runtime.GOARCH]

// count counts runs in counts.
func count(t *testing.T) *program.Program {
	return assemble(t, "count", []program.Map{counts},
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, 0).WithReference("counts"),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	)
}

func assemble(t *testing.T, name string, maps []program.Map, insns ...asm.Instruction) *program.Program {
	t.Helper()
	p, err := program.FromAsm(name, insns, maps)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// instance loads programs for the duration of the test.
func instance(t *testing.T, programs ...*program.Program) *Instance {
	t.Helper()
	in, err := Load(programs...)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// attach attaches program i for the duration of the test.
func attach(t *testing.T, in *Instance, i int, o Options, at ...Location) *Link {
	t.Helper()
	l, err := in.Attach(i, at, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// sums returns the sums of all CPUs' numbers, by key.
func sums(t *testing.T, in *Instance, name string) map[uint64]uint64 {
	t.Helper()
	out := map[uint64]uint64{}
	for key, values := range in.Entries(name) {
		k := make([]byte, 8)
		copy(k, key)
		for _, v := range values {
			out[binary.LittleEndian.Uint64(k)] += binary.LittleEndian.Uint64(v)
		}
	}
	if err := in.Map(name).Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCount: all calls of all threads of the one process, none of another.
func TestCount(t *testing.T) {
	available(t)
	w, other := start(t, "threads", "4", "3000"), start(t, "threads", "2", "500")
	in := instance(t, count(t))
	attach(t, in, 0, Options{PID: w.pid}, Location{Path: fmt.Sprintf("/proc/%d/exe", w.pid), Offset: w.offset("work")})
	other.run()
	calls := w.run()
	if got := sums(t, in, "counts")[0]; got != calls || calls != 12000 {
		t.Errorf("counted %d of %d", got, calls)
	}
}

// TestEveryProcess: without a filter all processes count, and none after Close. The test has its
// own file, since other packages' tests run the fixture meanwhile.
func TestEveryProcess(t *testing.T) {
	available(t)
	own := filepath.Join(t.TempDir(), "loop")
	if b, err := os.ReadFile(fixture.Path(t, "loop")); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(own, b, 0o755); err != nil {
		t.Fatal(err)
	}
	a, b, late := startFile(t, own, "700"), startFile(t, own, "40"), startFile(t, own, "5")
	in := instance(t, count(t))
	l := attach(t, in, 0, Options{}, Location{Path: a.path, Offset: a.offset("work")})
	want := a.run() + b.run()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	late.run()
	if got := sums(t, in, "counts")[0]; got != want {
		t.Errorf("counted %d of %d", got, want)
	}
}

// TestManyLocations: one link for all where the kernel has that, each with its
// cookie; the same by single links.
func TestManyLocations(t *testing.T) {
	available(t)
	hits := program.Map{Name: "hits", Type: program.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 16}
	p := assemble(t, "cookies", []program.Map{hits},
		asm.FnGetAttachCookie.Call(),
		asm.StoreMem(asm.RFP, -8, asm.R0, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.Mov.Reg(asm.R3, asm.RFP), // a value of 0 unless it is there
		asm.Add.Imm(asm.R3, -16),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.R3, 0, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, 0).WithReference("hits"),
		asm.Mov.Imm(asm.R4, 1), // BPF_NOEXIST
		asm.FnMapUpdateElem.Call(),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.LoadMapPtr(asm.R1, 0).WithReference("hits"),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	)
	for name, o := range map[string]Options{"together": {}, "single": {Single: true}} {
		t.Run(name, func(t *testing.T) {
			w := start(t, "threads", "4", "100")
			in := instance(t, p)
			o.PID = w.pid
			l := attach(t, in, 0, o,
				Location{Path: w.path, Offset: w.offset("work"), Cookie: 11},
				Location{Path: w.path, Offset: w.offset("main"), Cookie: 1}, // it exists already
				Location{Path: w.path, Offset: w.offset("work"), Cookie: 13, Return: true},
				Location{Path: w.path, Offset: w.offset("run"), Cookie: math.MaxUint64},
			)
			if links := map[bool]int{false: 2, true: 4}[o.Single]; l.Attached() != links {
				t.Errorf("%d links instead of %d", l.Attached(), links)
			}
			calls := w.run()
			got := sums(t, in, "hits")
			if want := map[uint64]uint64{11: 400, 13: 400, math.MaxUint64: 4}; calls != 400 || !maps.Equal(got, want) {
				t.Errorf("%d calls, hits by cookie: %v", calls, got)
			}
		})
	}
}

// TestAttachFails leaves nothing behind: neither links nor files (TestMain).
func TestAttachFails(t *testing.T) {
	available(t)
	w := start(t, "loop")
	in := instance(t, count(t))
	good := Location{Path: w.path, Offset: w.offset("work")}
	for name, bad := range map[string]Location{
		"no file":         {Path: "/no/such/file", Offset: 4},
		"behind the file": {Path: w.path, Offset: 1 << 40},
		"start of a file": {Path: w.path},
	} {
		if l, err := in.Attach(0, []Location{good, bad}, Options{PID: w.pid, Single: true}); err == nil {
			l.Close()
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := in.Attach(0, []Location{good}, Options{PID: math.MaxInt32}); err == nil {
		t.Error("a process that is not there: no error")
	}
	w.run()
	if got := sums(t, in, "counts")[0]; got != 0 {
		t.Errorf("counted %d", got)
	}
}

func TestLoadRefused(t *testing.T) {
	available(t)
	bad := assemble(t, "bad", nil, asm.LoadMem(asm.R0, asm.R1, 4096, asm.DWord), asm.Return())
	_, err := Load(bad)
	var v *ebpf.VerifierError
	if !errors.As(err, &v) || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if _, err := Load(); err == nil {
		t.Error("no program: no error")
	}
	if _, err := Load(count(t), assemble(t, "none", nil, asm.Mov.Imm(asm.R0, 0), asm.Return())); err == nil {
		t.Error("different maps: no error")
	}
}
