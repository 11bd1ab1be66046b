package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/internal/skip"
)

// stopped has the engine serve hits that stop, and calls watch while it does.
func stopped(t *testing.T, o probing, hits int, watch func(run func())) {
	t.Helper()
	r := tiny(t, Options{})
	s, _ := r.hits.Site("push")
	p, err := r.hits.Start(target.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o.rung = breakpoint.Slot
	probe, err := o.open(p, s)
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	order := target.Order{Addr: s.Entry, Calls: hits}
	run := func() {
		if _, err := p.Run(order); err != nil {
			t.Fatal(err)
		}
	}
	run()
	watch(run)
	if n, err := probe.Hits(); err != nil || n != uint64(2*hits) {
		t.Errorf("%d hits of %d, %v", n, 2*hits, err)
	}
}

// TestAllocations: a hit that stops does not allocate. Where it is told, the consumer of the events
// allocates once: the Hit that it gets. What else the process does meanwhile allocates, too, some
// times in a hundred hits: the limits lie between one allocation a hit less and one more.
func TestAllocations(t *testing.T) {
	const hits = 2000
	for name, c := range map[string]struct {
		o    probing
		most float64
	}{
		"counted": {probing{}, 0.9},
		"told":    {probing{action: engine.ActionTell}, 1.9},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			stopped(t, c.o, hits, func(run func()) {
				runtime.ReadMemStats(&before)
				run()
				runtime.ReadMemStats(&after)
			})
			if each := float64(after.Mallocs-before.Mallocs) / hits; each > c.most {
				t.Errorf("%.2f allocations a hit", each)
			}
		})
	}
}

// TestRequests: a hit that stops makes at most a fixed number of ptrace requests.
func TestRequests(t *testing.T) {
	const hits, most = 2000, 6.0
	stopped(t, probing{}, hits, func(run func()) {
		requests := openTracepoint(t, "syscalls/sys_enter_ptrace")
		run()
		each := float64(requests.sum(t)) / hits
		if each > most || each < 1 {
			t.Errorf("%.2f ptrace requests a hit, %v at the most", each, most)
		}
	})
}

// counters are perf events, one per thread of this process; their counts are added.
type counters []int

// openTracepoint counts how often this process's threads pass a tracepoint.
func openTracepoint(t *testing.T, name string) (c counters) {
	t.Helper()
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: tracepointID(t, name)}
	attr.Size = uint32(unsafe.Sizeof(attr))
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range tasks {
		tid, _ := strconv.Atoi(e.Name())
		fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		switch {
		case errors.Is(err, unix.ESRCH): // it has ended meanwhile
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
			skip.Missing(t, fmt.Sprintf("right to count kernel events: %v", err))
		case err != nil:
			t.Fatalf("perf_event_open: %v", err)
		default:
			t.Cleanup(func() { unix.Close(fd) })
			c = append(c, fd)
		}
	}
	return c
}

func (c counters) sum(t *testing.T) (n uint64) {
	t.Helper()
	for _, fd := range c {
		var b [8]byte
		if _, err := unix.Read(fd, b[:]); err != nil {
			t.Fatalf("read perf event: %v", err)
		}
		n += binary.LittleEndian.Uint64(b[:])
	}
	return n
}

// tracepointID returns the number of a tracepoint, which tracefs knows.
func tracepointID(t *testing.T, name string) uint64 {
	t.Helper()
	dir := "/sys/kernel/tracing"
	if _, err := os.Stat(dir + "/events"); err != nil {
		dir = t.TempDir()
		if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
			skip.Missing(t, fmt.Sprintf("tracefs: %v", err))
		}
		defer unix.Unmount(dir, 0)
	}
	b, err := os.ReadFile(filepath.Join(dir, "events", name, "id"))
	if err != nil {
		skip.Missing(t, "tracepoint "+name)
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
