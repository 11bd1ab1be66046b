package bench

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/ptracer/ptracer/bench/internal/contender"
	"github.com/ptracer/ptracer/bench/internal/target"
)

// peerRounds is how often a tool is measured: it takes a second to start.
const peerRounds = 3

// errNotInstalled is returned for a tool that is not installed.
var errNotInstalled = errors.New("not installed")

// tool is another tracer, as a command that counts the hits of a site of a running program.
type tool struct {
	name, program string
	args          func(p *target.Process, s target.Site) []string
	ready         string         // its output when it counts
	settle        time.Duration  // how long it takes from then on until it counts
	hits          *regexp.Regexp // matches the number, in the last matching line of the output after the program has ended
	function      string         // it counts calls of this function instead of hits of the site
	linked        bool           // it needs a program that the dynamic loader has started
}

// tools are the tools that need no more than a command.
var tools = []tool{
	{name: "gdb, ignore count", program: "gdb", ready: "ready", hits: regexp.MustCompile(`already hit (\d+) time`),
		args: func(p *target.Process, s target.Site) []string {
			return append(gdbArgs("-p", strconv.Itoa(p.PID)), "-ex", fmt.Sprintf("break *%#x", s.Addr), "-ex", "ignore 1 1000000000",
				"-ex", `echo ready\n`, "-ex", "continue", "-ex", "info breakpoints")
		}},
	{name: "lldb, ignore count", program: "lldb", ready: "(lldb) continue", settle: 300 * time.Millisecond, hits: regexp.MustCompile(`hit count = (\d+)`),
		args: func(p *target.Process, s target.Site) []string {
			return []string{"--no-lldbinit", "--batch", "-o", fmt.Sprintf("process attach -p %d", p.PID),
				"-o", fmt.Sprintf("breakpoint set -a %#x", s.Addr), "-o", "breakpoint modify -i 1000000000 1",
				"-o", "continue", "-o", "breakpoint list -v"}
		}},
	{name: "strace, of a system call", program: "strace", ready: "attached", function: "system_call", hits: regexp.MustCompile(`(\d+) +getppid`),
		args: func(p *target.Process, _ target.Site) []string {
			return []string{"-f", "-c", "-U", "calls,name", "-e", "trace=getppid", "-p", strconv.Itoa(p.PID)}
		}},
	{name: "ltrace", program: "ltrace", settle: 300 * time.Millisecond, linked: true, hits: regexp.MustCompile(`(\d+) +hit_`),
		args: func(p *target.Process, s target.Site) []string {
			return []string{"-c", "-e", "-*", "-x", s.Func, "-p", strconv.Itoa(p.PID)}
		}},
	{name: "bpftrace", program: "bpftrace", ready: "ready", settle: 100 * time.Millisecond, hits: regexp.MustCompile(`@hits: (\d+)`),
		args: func(p *target.Process, s target.Site) []string {
			return []string{"-p", strconv.Itoa(p.PID), "-e",
				fmt.Sprintf(`BEGIN { printf("ready\n"); } uprobe:%s:%s { @hits = count(); }`, p.Program.Path, s.Func)}
		}},
}

// gdbArgs are the arguments with which gdb runs a script.
func gdbArgs(more ...string) []string {
	return append([]string{"-nx", "-q", "-batch", "-iex", "set debuginfod enabled off"}, more...)
}

// peers returns the other tools as ways. dlv traces only programs of its own kind.
func (r *run) peers() []*way {
	only := []string{threadSite}
	var list []*way
	for _, t := range tools {
		w := &way{name: t.name, group: peers, probe: t.probe, function: t.function, most: peerRounds, sites: only}
		if t.linked {
			w.start = func(target.Site) (*target.Process, prober, error) {
				p, err := r.linked(target.Options{})
				return p, t.probe, err
			}
		}
		list = append(list, w)
	}
	return append(list,
		&way{name: "perf stat", group: peers, probe: perfStat, most: peerRounds, sites: only},
		&way{name: "gdbserver, fast tracepoint", group: peers, start: r.fastTracepoint, most: peerRounds, sites: []string{"nop5"}},
		&way{name: "uftrace", group: peers, start: r.uftrace, most: peerRounds, sites: []string{"nop5"}},
		&way{name: "dlv", group: peers, most: 1, sites: only, probe: func(*target.Process, target.Site) (contender.Probe, error) {
			return nil, errors.New("it traces Go programs only, which this one is none of")
		}})
}

// linked starts the program with the dynamic loader, if the machine has one.
func (r *run) linked(o target.Options) (*target.Process, error) {
	prog, err := r.install(target.Kind{Linked: true})
	if err != nil {
		return nil, err
	}
	return prog.Start(o)
}

// probe starts a tool at a site, and waits until it counts.
func (t tool) probe(p *target.Process, s target.Site) (contender.Probe, error) {
	running, err := spawn(t.program, t.args(p, s)...)
	if err != nil {
		return nil, err
	}
	b := &peer{tool: t, target: p, running: running}
	if err := running.until(t.ready); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	time.Sleep(t.settle)
	return b, nil
}

// peer is a running tool.
type peer struct {
	tool    tool
	target  *target.Process
	running *spawned
}

// Hits ends the program; tools then print their counts.
func (b *peer) Hits() (uint64, error) {
	if err := b.target.Close(); err != nil {
		return 0, err
	}
	out, err := b.running.end()
	if err != nil {
		return 0, err
	}
	return counted(b.tool.program, b.tool.hits, out)
}

// counted finds the last number that a tool has printed.
func counted(program string, number *regexp.Regexp, out string) (uint64, error) {
	found := number.FindAllStringSubmatch(out, -1)
	if found == nil {
		return 0, fmt.Errorf("%s tells no count: %q", program, tail(out))
	}
	return strconv.ParseUint(found[len(found)-1][1], 10, 64)
}

// Close ends the tool if it has not ended yet.
func (b *peer) Close() error {
	b.running.kill()
	return nil
}

// peerVisitors are the tools that attach and detach.
func peerVisitors() []visitor {
	return []visitor{
		{name: "strace -f", group: peers, most: peerRounds, visit: straceVisit},
		{name: "gdb", group: peers, most: peerRounds, visit: gdbVisit, once: true},
	}
}

// straceVisit attaches to all threads, and traces no calls.
func straceVisit(p *target.Process) (func() error, error) {
	s, err := spawn("strace", "-f", "-e", "trace=none", "-e", "signal=none", "-p", strconv.Itoa(p.PID))
	if err != nil {
		return nil, err
	}
	if err := s.until("attached"); err != nil {
		s.kill()
		return nil, err
	}
	return func() error {
		if err := s.interrupt(); err != nil {
			return err
		}
		_, err := s.end()
		return err
	}, nil
}

// gdbVisit attaches, which stops all threads, plants a breakpoint, and resumes all.
func gdbVisit(p *target.Process) (func() error, error) {
	s, err := spawn("gdb", gdbArgs("-p", strconv.Itoa(p.PID), "-ex", "break hit_push", "-ex", "delete", "-ex", "detach", "-ex", `echo gone\n`)...)
	if err != nil {
		return nil, err
	}
	if err := s.until("gone"); err != nil {
		s.kill()
		return nil, err
	}
	return func() error {
		_, err := s.end()
		return err
	}, nil
}
