package engine

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
)

// kernelProbe is one of the kernel's, on a place in a file, in one process. It counts.
type kernelProbe struct {
	t  testing.TB
	fd int
}

// newUprobe plants one at an offset from a function.
func newUprobe(t testing.TB, pid int, path, function string, off arch.Addr) *kernelProbe {
	t.Helper()
	kind, err := os.ReadFile("/sys/bus/event_source/devices/uprobe/type")
	if err != nil {
		skip.Missing(t, "uprobes in the kernel")
	}
	start, _ := instructions(t, path, function)
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	var pin runtime.Pinner
	pin.Pin(name)
	defer pin.Unpin()
	typ, _ := strconv.Atoi(strings.TrimSpace(string(kind)))
	attr := unix.PerfEventAttr{Type: uint32(typ), Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Ext1: uint64(uintptr(unsafe.Pointer(name))), Ext2: fileOffset(t, path, start+off)}
	fd, err := unix.PerfEventOpen(&attr, pid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		skip.Missing(t, fmt.Sprintf("the right to use uprobes (%v)", err))
	}
	u := &kernelProbe{t, fd}
	t.Cleanup(u.goes)
	return u
}

func (u *kernelProbe) hits() uint64 {
	var b [8]byte
	if _, err := unix.Read(u.fd, b[:]); err != nil {
		u.t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(b[:])
}

func (u *kernelProbe) goes() {
	if u.fd >= 0 {
		unix.Close(u.fd)
		u.fd = -1
	}
}

// fileOffset is where an address lies in a program's file.
func fileOffset(t testing.TB, path string, addr arch.Addr) uint64 {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if a := uint64(addr); p.Type == elf.PT_LOAD && a >= p.Vaddr && a < p.Vaddr+p.Filesz {
			return a - p.Vaddr + p.Off
		}
	}
	t.Fatalf("%v is not in %s", addr, path)
	return 0
}

// instructions are the addresses in a program's file where a function begins, and its
// second instruction.
func instructions(t testing.TB, path, function string) (first, second arch.Addr) {
	t.Helper()
	f, err := symbols.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fns, err := f.Lookup(function)
	if err != nil || len(fns) == 0 {
		t.Fatal(function, err)
	}
	starts, err := f.Instructions(hostISA(), fns[0])
	if err != nil || len(starts) < 2 {
		t.Fatal(starts, err)
	}
	return starts[0], starts[1]
}

// TestUprobeComes has a uprobe of the kernel's come to a function that is counted, and go
// again: the program lives, both count what they can, and what is missing is said.
func TestUprobeComes(t *testing.T) {
	for _, name := range []string{"loop", "loop-cf", "loop-musl", "loop-nopie", "loop-static-pie"} {
		for _, rung := range []breakpoint.Rung{breakpoint.Auto, breakpoint.Slot} {
			for _, at := range []string{"first", "second"} {
				t.Run(fmt.Sprint(name, " ", rung, " ", at), func(t *testing.T) {
					path, off := fixture.Path(t, name), arch.Addr(0)
					if at == "second" {
						a, b := instructions(t, path, "work")
						off = b - a
					}
					for n := 1; !uprobeComes(t, name, rung, off); n++ { // a place is taken, at random
						if n == 30 {
							t.Fatal("it is always")
						}
					}
				})
			}
		}
	}
}

// uprobeComes has a uprobe come behind a function's start and go, while the function is
// counted. It reports false where the place that a pun of one byte leads to is taken.
func uprobeComes(t *testing.T, name string, rung breakpoint.Rung, off arch.Addr) bool {
	t.Helper()
	p := launch(t, name, "100000000", "50")
	defer p.killed()
	text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "work", Rung: rung})
	place := func() Placement { return s.Placements(id)[0] }
	if place().Rung == breakpoint.Jump && hostISA().MinInst() == 1 {
		detach(t, s)
		return false
	}
	at, patched := place().Addr, false // what the uprobe replaces: behind a landing pad of arm64 lies the jump
	s.(*session).look(func() {
		_, patch := s.(*session).loop.Procs[p.pid].Space.Table.At(at).Planted()
		patched = int(off) < len(patch)
	})
	p.goOn()
	beside(t, p, place, newUprobe(t, p.pid, fixture.Path(t, name), "work", off), patched)
	detach(t, s)
	p.lives()
	isClean(t, p.pid, text, caught)
	return true
}

// beside has a uprobe count beside a probe, at the same place or not, and go.
func beside(t *testing.T, p *running, place func() Placement, u *kernelProbe, same bool) {
	t.Helper()
	until(t, "the uprobe's hits", func() bool { return p.lives() && u.hits() >= 20 })
	was := place()
	jump := isJump(was.Rung)
	if !same {
		until(t, "hits beside the uprobe", func() bool { return p.lives() && place().Hits >= was.Hits+20 })
	} else if jump {
		until(t, "a word on the uprobe", func() bool { return place().Gap == plant.GapUnder })
	}
	u.goes()
	until(t, "hits behind the uprobe", func() bool { return p.lives() && place().Hits >= was.Hits+50 })
	if now := place(); jump && same != (now.Gap != "") {
		t.Errorf("%v, it says %q", now.Rung, now.Gap)
	}
}

// lives fails the test if the program has ended.
func (p *running) lives() bool {
	p.t.Helper()
	if s := procfs.State(p.pid); s == 'Z' || s == 0 {
		_, status := p.end()
		p.t.Fatalf("the program has ended, with status %d", status)
	}
	return true
}
