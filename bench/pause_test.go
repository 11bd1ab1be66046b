package bench

import (
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// gaps is a program that sees itself being stopped.
type gaps struct{ *process }

func startGaps(t testing.TB, threads int) gaps {
	t.Helper()
	g := gaps{fixtureRun(t, "gaps", strconv.Itoa(threads), "100")}
	time.Sleep(300 * time.Millisecond) // all threads have started
	g.take()
	return g
}

// take is the longest gap since it was last asked for, in ms: of the thread
// that never sleeps, and by how much a sleeper woke too late.
func (g gaps) take() (gap, late float64) {
	g.t.Helper()
	time.Sleep(150 * time.Millisecond) // each sleeper has woken
	g.say("g")
	line := g.until("gap ")
	return number(g.t, line, "gap") / 1e6, number(g.t, line, "late") / 1e6
}

func (g gaps) quit() {
	g.say("q")
	g.end()
}

// A visitor attaches to a process, and detaches by the function it returns.
type visitor struct {
	name  string
	visit func(t testing.TB, pid int) (leave func())
}

var visitors = []visitor{
	{"nobody", func(testing.TB, int) func() {
		time.Sleep(300 * time.Millisecond)
		return func() { time.Sleep(300 * time.Millisecond) }
	}},
	{"ptracer, one probe", func(t testing.TB, pid int) func() {
		p := start(t, engineCommand(t, "visit", pid, "target_1"))
		p.until("ready")
		return func() {
			p.say("detach")
			p.until("detached")
			p.end()
		}
	}},
	{"strace -f -p", func(t testing.TB, pid int) func() {
		p := start(t, exec.Command(tool(t, "strace"), "-f", "-e", "trace=none", "-e", "signal=none", "-p", strconv.Itoa(pid)))
		p.until("attached")
		return func() {
			time.Sleep(100 * time.Millisecond)
			p.cmd.Process.Signal(syscall.SIGINT)
			p.until("detached")
			p.cmd.Wait() // by the signal
			p.pipe.Close()
		}
	}},
	{"gdb -p, detach", func(t testing.TB, pid int) func() {
		p := start(t, exec.Command(tool(t, "gdb"), "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off",
			"-p", strconv.Itoa(pid), "-ex", "detach", "-ex", `echo gone\n`))
		p.until("gone")
		p.end()
		return func() {} // all that time the program stood
	}},
}

// TestPause has tools come and go, and asks the program how long it stood.
func TestPause(t *testing.T) {
	amd64Only(t)
	sizes := []int{10, 1000}
	if !*full {
		sizes = sizes[:1]
	}
	tables := map[int]*table{}
	for _, threads := range sizes {
		tables[threads] = results.add(&table{Unit: "ms", Title: fmt.Sprintf(
			"A tool comes and goes: how long that takes, and the longest pause of a running thread and of one that should wake; %d threads", threads)})
	}
	for range turns(7) {
		for _, threads := range sizes {
			for _, v := range visitors {
				t.Run(fmt.Sprintf("%d/%s", threads, v.name), func(t *testing.T) {
					g := startGaps(t, threads)
					begin := time.Now()
					leave := v.visit(t, g.pid)
					took := time.Since(begin)
					gap, late := g.take()
					begin = time.Now()
					leave()
					left := time.Since(begin)
					gap2, late2 := g.take()
					g.quit()
					for _, c := range []struct {
						what string
						ms   float64
					}{
						{"attach", took.Seconds() * 1e3}, {"runner", gap}, {"sleeper", late},
						{"detach", left.Seconds() * 1e3}, {"runner then", gap2}, {"sleeper then", late2},
					} {
						tables[threads].add(v.name, c.what, c.ms)
					}
				})
			}
		}
	}
}

// TestThousands plants probes on 10,000 functions of a running program, has
// each called once, and takes them out again.
func TestThousands(t *testing.T) {
	amd64Only(t)
	table := results.add(&table{Title: "10,000 probes on a running program", Unit: "ms"})
	for turn := range turns(5) {
		t.Run("ptracer", func(t *testing.T) { thousandsByEngine(t, table) })
		if *full && turn == 0 {
			t.Run("gdb", func(t *testing.T) { thousandsByGDB(t, table) })
		}
	}
}

func thousandsByEngine(t *testing.T, table *table) {
	const row = "ptracer"
	g := startGaps(t, 2)
	p := start(t, engineCommand(t, "visit", g.pid, "target_*"))
	line := p.until("ready")
	gap, _ := g.take()
	table.add(row, "attach takes", number(t, line, "attach")/1e6)
	table.add(row, "planting takes", number(t, line, "plant")/1e6)
	table.add(row, "longest pause, planting", gap)

	g.say("c")
	g.until("calls 10000")
	p.say("hits")
	if hits := p.number("hits"); hits != 10000 {
		t.Errorf("%.0f hits, 10000 calls", hits)
	}
	g.take()
	p.say("remove")
	table.add(row, "removing takes", p.number("removed")/1e6)
	gap, _ = g.take()
	table.add(row, "longest pause, removing", gap)
	p.say("detach")
	table.add(row, "detaching takes", p.number("detached")/1e6)
	p.end()
	gap, _ = g.take()
	table.add(row, "longest pause, detaching", gap)
	g.quit()
}

// thousandsByGDB plants as many by rbreak. gdb has them in the program only
// while that runs, so it is made to run for one instruction.
func thousandsByGDB(t *testing.T, table *table) {
	const row = "gdb, rbreak"
	g := startGaps(t, 2)
	begin := time.Now()
	p := start(t, exec.Command(tool(t, "gdb"), "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off",
		"-p", strconv.Itoa(g.pid), "-ex", "rbreak ^target_", "-ex", "thread 2", "-ex", "stepi", "-ex", `echo planted\n`, "-ex", "detach", "-ex", `echo gone\n`))
	p.until("planted")
	table.add(row, "planting takes", time.Since(begin).Seconds()*1e3)
	begin = time.Now()
	p.until("gone")
	table.add(row, "detaching takes", time.Since(begin).Seconds()*1e3)
	p.end()
	gap, _ := g.take()
	table.add(row, "longest pause, planting", gap)
	g.quit()
}
