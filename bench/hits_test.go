package bench

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
)

// firsts are the first instructions of the probed functions.
var firsts = []string{"push", "lea", "endbr64", "cmp"}

// hitCase is one program to be probed: threads that call a function.
type hitCase struct {
	first   string
	threads int
}

func (c hitCase) String() string {
	if c.threads > 1 {
		return fmt.Sprintf("%s, %d threads", c.first, c.threads)
	}
	return c.first
}

// A contender counts the hits of one function.
type contender struct {
	name  string
	calls int // in a turn, all threads together
	// attach starts counting in a process that waits; finish, once that has
	// ended, tells the count. pid is the contender's process, 0 if none.
	attach func(t testing.TB, c hitCase, p *process) (pid int, finish func() float64)
	lossy  bool // misses hits of other threads by its nature
}

// byTracer is a contender that is a process: it says "ready", and "hits N" at the end.
func byTracer(command func(testing.TB, hitCase, *process) *exec.Cmd) func(testing.TB, hitCase, *process) (int, func() float64) {
	return func(t testing.TB, c hitCase, p *process) (int, func() float64) {
		t.Helper()
		tracer := start(t, command(t, c, p))
		tracer.until("ready")
		return tracer.pid, func() float64 {
			hits := tracer.number("hits")
			tracer.end()
			return hits
		}
	}
}

// inC is one of the ways of the tracer in C, tied to a CPU or (-1) not.
func inC(way string, cpu int) func(testing.TB, hitCase, *process) (int, func() float64) {
	return byTracer(func(t testing.TB, c hitCase, p *process) *exec.Cmd {
		path := fixture.Path(t, "hits")
		site, slot := symbolOf(t, path, "hit_"+c.first), symbolOf(t, path, "slot_"+c.first)
		return exec.Command(fixture.Path(t, "stops"), way, strconv.Itoa(p.pid),
			fmt.Sprint(site.addr), fmt.Sprint(slot.addr), strconv.Itoa(cpu))
	})
}

func byEngine(wrap ...string) func(testing.TB, hitCase, *process) (int, func() float64) {
	return byTracer(func(t testing.TB, c hitCase, p *process) *exec.Cmd {
		cmd := engineCommand(t, "count", p.pid, "hit_"+c.first, wrap...)
		cmd.Args = append(cmd.Args, "trap")
		return cmd
	})
}

// byJump is the engine without a stop.
func byJump(t testing.TB, c hitCase, p *process) (int, func() float64) {
	return byTracer(func(t testing.TB, c hitCase, p *process) *exec.Cmd {
		cmd := engineCommand(t, "count", p.pid, "hit_"+c.first)
		cmd.Args = append(cmd.Args, "jump")
		return cmd
	})(t, c, p)
}

// byHand puts a jump at the function's start, to code that counts and is there
// already: the least that a jump can cost. Its counter is plain.
func byHand(t testing.TB, c hitCase, p *process) (int, func() float64) {
	t.Helper()
	path := fixture.Path(t, "hits")
	at, to := symbolOf(t, path, "hit_"+c.first).addr, symbolOf(t, path, "jump_"+c.first).addr
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.pid), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(to-at-5))
	if _, err := mem.WriteAt(jump, int64(at)); err != nil {
		t.Fatal(err)
	}
	return 0, func() float64 { return p.patched }
}

// byGDB has gdb ignore a breakpoint more often than it is hit.
func byGDB(t testing.TB, c hitCase, p *process) (int, func() float64) {
	t.Helper()
	g := start(t, exec.Command(tool(t, "gdb"), "-nx", "-q", "-batch", "-p", strconv.Itoa(p.pid),
		"-ex", "set debuginfod enabled off", "-ex", "break *hit_"+c.first, "-ex", "ignore 1 1000000000",
		"-ex", `echo ready\n`, "-ex", "continue", "-ex", "info breakpoints"))
	g.until("ready")
	return g.pid, func() float64 {
		hits := number(t, g.until("already hit "), "already hit")
		g.end()
		return hits
	}
}

func byUprobe(t testing.TB, c hitCase, p *process) (int, func() float64) {
	t.Helper()
	path := fixture.Path(t, "hits")
	n := openUprobe(t, path, symbolOf(t, path, "hit_"+c.first).offset, tasks(t, p.pid))
	return 0, func() float64 {
		defer n.close()
		return float64(n.sum(t))
	}
}

// measure makes one turn: ns a call of the program under a contender, less
// what a call costs without one.
func (x contender) measure(t testing.TB, c hitCase, watch ...func(pid int)) float64 {
	t.Helper()
	each := max(x.calls/c.threads, 1)
	p := fixtureRun(t, "hits", c.first, strconv.Itoa(c.threads), strconv.Itoa(each))
	pid, finish := x.attach(t, c, p)
	for _, f := range watch {
		f(pid)
	}
	p.say("")
	ns := p.number("ns")
	calls := p.number("calls")
	p.patched = p.number("patched")
	p.end()
	if hits := finish(); hits != calls && !(x.lossy && c.threads > 1) {
		t.Errorf("%s, %v: %.0f hits, %.0f calls", x.name, c, hits, calls)
	} else {
		calls = hits // of the lossy, what it did
	}
	return ns/calls - unprobed(t, c)
}

// unprobed is ns a call with nothing in the way.
func unprobed(t testing.TB, c hitCase) float64 {
	t.Helper()
	if bare[c] == 0 {
		p := fixtureRun(t, "hits", c.first, strconv.Itoa(c.threads), "3000000")
		p.say("")
		bare[c] = p.number("ns") / p.number("calls")
		p.end()
	}
	return bare[c]
}

var bare = map[hitCase]float64{}

const (
	rowJump     = "ptracer, jump"
	rowHand     = "C, a jump patched by hand"
	rowEngine   = "ptracer, trap"
	rowLeast    = "C, least (GETREGS, SETREGS)"
	rowWord     = "C, least (PEEKUSER, POKEUSER)"
	rowFree     = "C, least, no CPU shared"
	rowTextbook = "C, textbook (single step)"
	rowUprobe   = "kernel uprobe"
	rowGDB      = "gdb, ignore count"
)

func contenders() []contender {
	n := length(20000, 300)
	return []contender{
		{name: rowJump, calls: length(100_000_000, 300_000), attach: byJump},
		{name: rowHand, calls: length(100_000_000, 300_000), attach: byHand, lossy: true},
		{name: rowEngine, calls: n, attach: byEngine()},
		{name: rowLeast, calls: n, attach: inC("least", 1)},
		{name: rowWord, calls: n, attach: inC("word", 1)},
		{name: rowTextbook, calls: n / 3, attach: inC("textbook", 1), lossy: true},
		{name: rowUprobe, calls: n * 2, attach: byUprobe},
		{name: rowFree, calls: n / 4, attach: inC("least", -1)},
		{name: rowGDB, calls: n / 20, attach: byGDB},
	}
}

// TestHit has all contenders count, and says what a hit costs with each.
func TestHit(t *testing.T) {
	amd64Only(t)
	table := results.add(&table{Title: "A counting hit, by the first instruction of the function", Unit: "ns, less what the call costs"})
	var cases []hitCase
	for _, threads := range []int{1, 2} {
		for _, first := range firsts {
			cases = append(cases, hitCase{first: first, threads: threads})
		}
	}
	if !*full {
		cases = []hitCase{{first: "push", threads: 1}, {first: "cmp", threads: 2}}
	}
	for turn := range turns(9) {
		for _, c := range cases {
			for _, x := range contenders() {
				if x.name == rowGDB && turn > 2 {
					continue
				}
				t.Run(fmt.Sprintf("%v/%s", c, x.name), func(t *testing.T) {
					table.add(x.name, c.String(), x.measure(t, c))
				})
			}
		}
	}
	table.ratio("jump / by hand", rowJump, rowHand)
	table.ratio("uprobe / jump", rowUprobe, rowJump)
	table.ratio("trap / C, least", rowEngine, rowLeast)
	table.ratio("textbook / ptracer", rowTextbook, rowEngine)
	table.ratio("trap / uprobe", rowEngine, rowUprobe)
}

// TestRequests counts the system calls that tracers make a hit.
func TestRequests(t *testing.T) {
	amd64Only(t)
	table := results.add(&table{Title: "System calls of the tracer a hit", Unit: "calls"})
	points := []struct{ label, event string }{
		{"ptrace", "syscalls/sys_enter_ptrace"}, {"waitid", "syscalls/sys_enter_waitid"},
		{"wait4", "syscalls/sys_enter_wait4"}, {"futex", "syscalls/sys_enter_futex"},
		{"nanosleep", "syscalls/sys_enter_nanosleep"}, {"all", "raw_syscalls/sys_enter"},
	}
	for _, first := range firsts {
		for _, x := range contenders() {
			if x.name == rowUprobe || x.name == rowJump || x.name == rowHand || x.name != rowEngine && first != "push" {
				continue
			}
			name := x.name
			if x.name == rowEngine {
				name += ", " + first
			}
			t.Run(name, func(t *testing.T) {
				counts := map[string]counters{}
				x.measure(t, hitCase{first: first, threads: 1}, func(pid int) {
					for _, p := range points {
						counts[p.label] = openTracepoint(t, tracepoint(t, p.event), tasks(t, pid))
					}
				})
				for _, p := range points {
					each := float64(counts[p.label].sum(t)) / float64(x.calls)
					counts[p.label].close()
					table.add(name, p.label, each)
					if most := 6.0; x.name == rowEngine && p.label == "ptrace" && each > most {
						t.Errorf("%.2f ptrace requests a hit, want at most %v", each, most)
					}
				}
			})
		}
	}
}

func amd64Only(t testing.TB) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		fixture.Path(t, "hits") // skips, and says why
	}
}
