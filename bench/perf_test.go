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

	"github.com/ptracer/ptracer/internal/skip"
)

// counters are perf events of one kind, one a task; their sum is read.
type counters []int

func openCounters(t testing.TB, attr unix.PerfEventAttr, tids []int) (c counters) {
	t.Helper()
	attr.Size = uint32(unsafe.Sizeof(attr))
	for _, tid := range tids {
		fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT) {
			c.close()
			skip.Missing(t, fmt.Sprintf("right to count kernel events: %v", err))
		}
		if err != nil {
			c.close()
			t.Fatalf("perf_event_open: %v", err)
		}
		c = append(c, fd)
	}
	return c
}

func (c counters) sum(t testing.TB) (n uint64) {
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

func (c counters) close() {
	for _, fd := range c {
		unix.Close(fd)
	}
}

// openUprobe has the kernel count the executions of a place in a file by some
// tasks (perf_event_open(2), the "uprobe" unit).
func openUprobe(t testing.TB, path string, offset uint64, tids []int) counters {
	t.Helper()
	b, err := os.ReadFile("/sys/bus/event_source/devices/uprobe/type")
	if err != nil {
		skip.Missing(t, "kernel uprobes")
	}
	kind, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	var pin runtime.Pinner
	pin.Pin(name)
	defer pin.Unpin()
	attr := unix.PerfEventAttr{Type: uint32(kind), Ext1: uint64(uintptr(unsafe.Pointer(name))), Ext2: offset}
	return openCounters(t, attr, tids)
}

// tracepoint is the number of a tracepoint, which tracefs knows.
func tracepoint(t testing.TB, name string) uint64 {
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

// openTracepoint counts how often some tasks pass a tracepoint.
func openTracepoint(t testing.TB, id uint64, tids []int) counters {
	t.Helper()
	return openCounters(t, unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id}, tids)
}
