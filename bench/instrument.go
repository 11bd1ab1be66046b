package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ptracer/ptracer/bench/internal/contender"
	"github.com/ptracer/ptracer/bench/internal/target"
)

// Tools that need preparation: an event, a library in the program, or starting the program
// themselves.

// perfStat counts with a uprobe event that perf has made.
func perfStat(p *target.Process, s target.Site) (contender.Probe, error) {
	path, err := exec.LookPath("perf")
	if err != nil {
		return nil, fmt.Errorf("perf: %w", errNotInstalled)
	}
	name := fmt.Sprintf("ptracer_bench_%d:hit", p.PID)
	if out, err := exec.Command(path, "probe", "-q", "-x", p.Program.Path, "--add", name+"="+s.Func).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("perf probe: %w: %q", err, tail(string(out)))
	}
	running, err := spawn("perf", "stat", "-x,", "-e", name, "-p", strconv.Itoa(p.PID))
	b := &perfPeer{event: name, path: path}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.peer = &peer{tool: tool{program: "perf", hits: regexp.MustCompile(`(?m)^(\d+),`)}, target: p, running: running}
	if err := counts(running.cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// counts waits until a process has opened a perf event.
func counts(pid int) error {
	for end := time.Now().Add(peerPatience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if link, _ := os.Readlink(fd); link == "anon_inode:[perf_event]" {
				return nil
			}
		}
	}
	return errors.New("perf stat counts nothing")
}

// perfPeer removes its event at the end.
type perfPeer struct {
	*peer
	event, path string
}

func (b *perfPeer) Close() error {
	if b.peer != nil {
		b.running.kill()
	}
	if out, err := exec.Command(b.path, "probe", "-q", "--del", b.event).CombinedOutput(); err != nil {
		return fmt.Errorf("perf probe: %w: %q", err, tail(string(out)))
	}
	return nil
}

// agents are the possible paths of gdb's library for fast tracepoints.
var agents = []string{"/usr/lib/libinproctrace.so", "/usr/lib64/libinproctrace.so", "/usr/lib/*/libinproctrace.so", "/usr/local/lib/libinproctrace.so"}

// fastTracepoint starts the program with gdb's agent; it needs an instruction as long as a jump.
func (r *run) fastTracepoint(target.Site) (*target.Process, prober, error) {
	for _, glob := range agents {
		if found, _ := filepath.Glob(glob); len(found) > 0 {
			p, err := r.linked(target.Options{Preload: found[0]})
			return p, tracepoint, err
		}
	}
	return nil, nil, fmt.Errorf("gdb's agent library (libinproctrace.so): %w", errNotInstalled)
}

// tracepoint plants a tracepoint with gdb and gdbserver. Each hit writes a frame; without it hits
// are not counted. The number is read before the program ends, since the agent ends with the
// program.
func tracepoint(p *target.Process, s target.Site) (contender.Probe, error) {
	if _, err := exec.LookPath("gdbserver"); err != nil {
		return nil, fmt.Errorf("gdbserver: %w", errNotInstalled)
	}
	args := gdbArgs("-iex", "set sysroot /")
	for _, command := range []string{
		fmt.Sprintf("target extended-remote | gdbserver --attach - %d", p.PID), "set circular-trace-buffer on",
		fmt.Sprintf("ftrace *%#x", s.Addr), "tstart", `echo ready\n`, "continue", "tstop", "tstatus", "detach",
	} {
		args = append(args, "-ex", command)
	}
	running, err := spawn("gdb", args...)
	if err != nil {
		return nil, err
	}
	if err := running.until("ready"); err != nil {
		running.kill()
		return nil, err
	}
	return &agent{running}, nil
}

type agent struct{ running *spawned }

var frames = regexp.MustCompile(`of (\d+) created total`)

func (a *agent) Hits() (uint64, error) {
	if err := a.running.interrupt(); err != nil {
		return 0, err
	}
	out, err := a.running.end()
	if err != nil {
		return 0, err
	}
	return counted("gdb", frames, out)
}

func (a *agent) Close() error {
	a.running.kill()
	return nil
}

// uftrace starts the program itself, with its library in it and the function patched. It records
// entry and exit of each call.
func (r *run) uftrace(s target.Site) (*target.Process, prober, error) {
	path, err := exec.LookPath("uftrace")
	if err != nil {
		return nil, nil, fmt.Errorf("uftrace: %w", errNotInstalled)
	}
	dir, err := os.MkdirTemp("", "ptracer-bench-uftrace-")
	if err != nil {
		return nil, nil, err
	}
	p, err := r.linked(target.Options{Under: []string{path, "record", "--no-event", "-P", s.Func, "-d", filepath.Join(dir, "data")}})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return p, func(p *target.Process, s target.Site) (contender.Probe, error) {
		return &recording{path: path, dir: dir, function: s.Func, target: p}, nil
	}, nil
}

// recording is the folder that uftrace records into.
type recording struct {
	path, dir, function string
	target              *target.Process
}

// Hits ends the program, and asks uftrace for the number of calls of the function.
func (u *recording) Hits() (uint64, error) {
	if err := u.target.Close(); err != nil {
		return 0, err
	}
	out, err := exec.Command(u.path, "report", "--no-pager", "-d", filepath.Join(u.dir, "data")).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("uftrace report: %w: %q", err, tail(string(out)))
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 1 && f[len(f)-1] == u.function {
			return strconv.ParseUint(f[len(f)-2], 10, 64)
		}
	}
	return 0, fmt.Errorf("uftrace tells no count: %q", tail(string(out)))
}

func (u *recording) Close() error { return errors.Join(u.target.Close(), os.RemoveAll(u.dir)) }
