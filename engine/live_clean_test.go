package engine

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/procfs"
)

// until waits for a state of another process, which no event tells.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(hangs); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// field is a line of /proc/PID/status.
func field(pid int, key string) string {
	st, _ := procfs.ReadStatus(pid)
	return st[key]
}

// childOf is a process's first child, 0 without one.
func childOf(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	n, _ := strconv.Atoi(strings.Fields(string(b) + " 0")[0])
	return n
}

// inRead says whether a process sleeps in a read of standard input.
func inRead(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	f := strings.Fields(string(b))
	return len(f) > 1 && f[1] == "0x0" && (f[0] == "0" || f[0] == "63") && procfs.State(pid) == 'S'
}

// textOf is a digest of the executable memory of each file that a process has
// mapped.
func textOf(t testing.TB, pid int) map[string]string {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", procfs.LiveTask(pid)))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	text := map[string]string{}
	maps, err := procfs.Maps(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		if !m.Executable() || m.Path == "[vsyscall]" || m.Path == "[uprobes]" { // the kernel's, which may not be read
			continue
		}
		buf := make([]byte, m.End-m.Start)
		if _, err := mem.ReadAt(buf, int64(m.Start)); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		text[m.Path] += fmt.Sprintf("%x", sha256.Sum256(buf))
	}
	return text
}

// isClean fails the test if anything of ptracer's is in a process.
func isClean(t testing.TB, pid int, text map[string]string, caught string) {
	t.Helper()
	now := textOf(t, pid)
	for path, want := range text {
		if got, ok := now[path]; ok && got != want && path != "[vdso]" {
			t.Errorf("%s: its text is not what it was", path)
		}
	}
	if now[""] != text[""] {
		t.Error("executable memory of ours is left")
	}
	tids, err := procfs.Tasks(pid)
	if err != nil {
		t.Error(err)
	}
	for _, tid := range tids {
		if by := procfs.Tracer(tid); by != 0 {
			t.Errorf("task %d is traced by %d", tid, by)
		}
	}
	if got := field(pid, "SigCgt"); got != caught {
		t.Errorf("signals caught: %s, before %s", got, caught)
	}
}

func mapsOf(t testing.TB, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// kinds are programs of each kind of linking, with a function each that is
// called as often as they say.
var kinds = []struct{ fixture, where string }{
	{"loop", "work"}, {"loop-cf", "work"}, {"loop-musl", "work"}, {"loop-nopie", "work"},
	{"loop-static", "work"}, {"loop-static-pie", "work"},
	{"gowork", "main.work"}, {"gowork-pie", "main.work"}, {"gowork-stripped", "main.work"},
}

// TestClean attaches to programs of each kind, plants, and detaches: while they
// wait, and while they run.
func TestClean(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.fixture, func(t *testing.T) {
			args := []string{"20000"}
			if strings.HasPrefix(k.fixture, "go") {
				args = []string{"2", "9000"}
			}
			want, _ := alone(t, k.fixture, args...)
			p := launch(t, k.fixture, args...)
			text, maps, caught := textOf(t, p.pid), mapsOf(t, p.pid), field(p.pid, "SigCgt")
			for range 3 {
				s := attach(t, p.pid)
				register(t, s, ProbeSpec{Location: k.where + "+*"})
				if now := textOf(t, p.pid); now[""] == "" {
					t.Error("the test does not see what it looks for")
				}
				detach(t, s)
				isClean(t, p.pid, text, caught)
				if now := mapsOf(t, p.pid); now != maps {
					t.Errorf("maps were\n%sare\n%s", maps, now)
				}
			}
			s := attach(t, p.pid)
			hit := make(chan struct{}, 1)
			id := register(t, s, ProbeSpec{Location: k.where, Action: ActionCall, Func: func(Hit) {
				select {
				case hit <- struct{}{}:
				default:
				}
			}})
			p.goOn()
			<-hit
			detach(t, s)
			if err := p.stopped(func() { isClean(t, p.pid, text, caught) }); err != nil {
				t.Log(err)
			}
			out, status := p.end()
			if out != want || status != 0 || s.Hits(id) == 0 {
				t.Errorf("%q, status %d, %d hits, want %q", out, status, s.Hits(id), want)
			}
		})
	}
}

// TestMemory reads and writes code under probes.
func TestMemory(t *testing.T) {
	p := launch(t, "loop", "50")
	s := attach(t, p.pid)
	first := register(t, s, ProbeSpec{Location: "work"})
	addr := s.Placements(first)[0].Addr
	before := make([]byte, 32)
	read(t, s, p.pid, addr, before)
	all := register(t, s, ProbeSpec{Location: "work+*"})
	after := make([]byte, 32)
	read(t, s, p.pid, addr, after)
	raw := make([]byte, 32)
	rawRead(t, p.pid, addr, raw)
	if string(before) != string(after) || string(raw) == string(after) {
		t.Errorf("read % x, with probes % x, in memory % x", before, after, raw)
	}
	// Other code: return i + 1000000, or as much.
	code := map[string][]byte{
		"amd64": {0x48, 0x8d, 0x87, 0x40, 0x42, 0x0f, 0x00, 0xc3}, // lea 1000000(%rdi), %rax; ret
		"arm64": {0x00, 0x90, 0x43, 0x91, 0xc0, 0x03, 0x5f, 0xd6}, // add x0, x0, #0xe4, lsl #12; ret
	}[s.ISA().Name()]
	more := map[string]uint64{"amd64": 1000000, "arm64": 0xe4 << 12}[s.ISA().Name()]
	if err := s.WriteMemory(p.pid, addr, code); err != nil {
		t.Fatal(err)
	}
	read(t, s, p.pid, addr, after[:len(code)])
	if string(after[:len(code)]) != string(code) {
		t.Errorf("read % x after writing % x", after[:len(code)], code)
	}
	p.goOn()
	out, status := p.end()
	if got, want := said(t, out, "sum"), 50*more+50*49/2; got != want || status != 0 {
		t.Errorf("sum %d, want %d", got, want)
	}
	if got := s.Hits(first); got != 50 {
		t.Errorf("%d hits, want 50", got)
	}
	_ = all
}

func read(t testing.TB, s Session, pid int, addr arch.Addr, buf []byte) {
	t.Helper()
	if err := s.ReadMemory(pid, addr, buf); err != nil {
		t.Fatal(err)
	}
}

// rawRead reads memory as it is.
func rawRead(t testing.TB, pid int, addr arch.Addr, buf []byte) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", procfs.LiveTask(pid)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(buf, int64(addr)); err != nil {
		t.Fatal(err)
	}
}

func rawWrite(t testing.TB, pid int, addr arch.Addr, data []byte) {
	t.Helper()
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", procfs.LiveTask(pid)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, int64(addr)); err != nil {
		t.Fatal(err)
	}
}

// TestForeign finds another tool's trap where it is to plant: it is served in
// another way, and never written over.
func TestForeign(t *testing.T) {
	p := launch(t, "loop", "50")
	s := attach(t, p.pid)
	addr := s.Placements(register(t, s, ProbeSpec{Location: "work"}))[0].Addr
	detach(t, s)
	trap := s.ISA().Trap()
	saved := make([]byte, len(trap))
	rawRead(t, p.pid, addr, saved)
	rawWrite(t, p.pid, addr, trap)
	s = attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "work"})
	if pl := s.Placements(id)[0]; pl.Rung != breakpoint.Hardware {
		t.Errorf("%+v: want a debug register", pl)
	}
	now := make([]byte, len(trap))
	rawRead(t, p.pid, addr, now)
	if string(now) != string(trap) {
		t.Errorf("the other's trap has become % x", now)
	}
	rawWrite(t, p.pid, addr, saved) // the other lets go
	p.goOn()
	if out, status := p.end(); status != 0 || said(t, out, "calls") != 50 || s.Hits(id) != 50 {
		t.Errorf("%q, status %d, %d hits", out, status, s.Hits(id))
	}
}

func addrOf(v uint64) arch.Addr { return arch.Addr(v) }
