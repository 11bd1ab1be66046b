package contender

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/internal/skip"
)

func TestMain(m *testing.M) { leak.Main(m) }

// way is one contender, with how many calls it is tried by.
type way struct {
	name  string
	calls int
	trap  bool
	entry bool // at functions' starts only
	lossy bool // counts too little with several threads
	slow  bool // to take away: tried at few sites
	probe func(*target.Process, target.Site) (Probe, error)
}

func ways() []way {
	traced := func(loop Loop, cpu int) func(*target.Process, target.Site) (Probe, error) {
		return func(p *target.Process, s target.Site) (Probe, error) { return Trace(p, s, loop, cpu) }
	}
	ebpf := func(kind Kind) func(*target.Process, target.Site) (Probe, error) {
		return func(p *target.Process, s target.Site) (Probe, error) { return EBPF(p, s, kind) }
	}
	return []way{
		{name: "hand", calls: 5000, lossy: true, probe: Hand},
		{name: "SIGTRAP", calls: 500, trap: true, probe: Trap},
		{name: "least", calls: 100, probe: traced(Least, 0)},
		{name: "least, free", calls: 30, probe: traced(Least, -1)},
		{name: "textbook", calls: 50, lossy: true, probe: traced(Textbook, 0)},
		{name: "uprobe", calls: 300, slow: true, probe: Uprobe},
		{name: "breakpoint", calls: 300, probe: Breakpoint},
		{name: "eBPF", calls: 300, slow: true, probe: ebpf(Single)},
		{name: "eBPF multi", calls: 300, slow: true, probe: ebpf(Multi)},
		{name: "eBPF return", calls: 300, slow: true, entry: true, probe: ebpf(Return)},
		{name: "tracefs", calls: 300, slow: true, probe: Event},
	}
}

func install(t *testing.T) *target.Program {
	t.Helper()
	img, err := target.Build(target.Kind{Arch: runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	p, err := target.Install(img)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// TestExact has each way count at each site, with one thread and with two, and
// leave, after which the program goes on and is not counted.
func TestExact(t *testing.T) {
	p := install(t)
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			for i, s := range p.Sites {
				if w.entry && s.Off != 0 || w.slow && !slices.Contains([]string{"push", "sub", "loop"}, s.Class) {
					continue
				}
				w.try(t, p, s, 1+i%2)
			}
		})
	}
}

func (w way) try(t *testing.T, p *target.Program, s target.Site, threads int) {
	t.Helper()
	if w.lossy {
		threads = 1
	}
	r, err := p.Start(target.Options{Threads: threads, Trap: w.trap})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", s.Class, err)
		}
	}()
	probe, err := w.probe(r, s)
	if errors.Is(err, ErrMissing) {
		skip.Missing(t, err.Error())
	}
	if err != nil {
		t.Fatalf("%s: %v", s.Class, err)
	}
	order := target.Order{Addr: s.Entry, Calls: w.calls}
	took, err := r.Run(order)
	if err != nil {
		t.Fatalf("%s: %v", s.Class, err)
	}
	if got, err := probe.Hits(); err != nil || got != took.Calls*uint64(s.PerCall) {
		t.Errorf("%s, %d threads: %d hits of %d, %v", s.Class, threads, got, took.Calls*uint64(s.PerCall), err)
	}
	if err := probe.Close(); err != nil {
		t.Errorf("%s: close: %v", s.Class, err)
	}
	if _, err := r.Run(order); err != nil {
		t.Errorf("%s: afterwards: %v", s.Class, err)
	}
}

// TestChildless: a thread that has started a process is not used for a tracer's loop, which would
// take the process's end from the goroutine that waits for it.
func TestChildless(t *testing.T) {
	on := func(f func()) {
		done := make(chan bool)
		go func() {
			defer close(done)
			runtime.LockOSThread() // it ends with the goroutine
			f()
		}()
		<-done
	}
	p := install(t)
	on(func() {
		r, err := p.Start(target.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		if childless() {
			t.Error("it has a child")
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 10 { // a thread that is new to this process may have inherited children of another
		found := false
		if on(func() { found = childless() }); found {
			return
		}
	}
	t.Error("no thread without children")
}

// TestReasons: a user without rights gets the reason for what is missing.
func TestReasons(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{{os.ErrPermission, false}, {noEvent(fmt.Errorf("open: %w", syscall.EACCES)), true}, {noEvent(syscall.ENOENT), true}, {noEvent(syscall.EBUSY), false}} {
		if got := errors.Is(c.err, ErrMissing); got != c.want {
			t.Errorf("%v: missing %v", c.err, got)
		}
	}
}

// TestProfiled reads uprobe_profile as kernels write it.
func TestProfiled(t *testing.T) {
	const profile = "  /bin/other hit                       3               0\n  /tmp/x/target hit                                                     12345\n"
	if n, err := profiled(profile, "/tmp/x/target"); n != 12345 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := profiled(profile, "/tmp/x"); err == nil {
		t.Error("no error where there is no such file")
	}
}

// TestPath: a path that tracefs would misread is refused.
func TestPath(t *testing.T) {
	e := event{path: "/tmp/a b/target"}
	if err := e.make(64); !errors.Is(err, ErrMissing) {
		t.Errorf("%v", err)
	}
}
