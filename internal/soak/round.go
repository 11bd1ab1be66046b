package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// act is what a round does to some processes of a server; it gives an error for what a
// tracer did wrong.
type act struct {
	name string
	do   func(r *round) error
}

var acts = []act{
	{"count", func(r *round) error { return r.trace("count", "-d", r.time(), r.location()) }},
	{"count all", func(r *round) error { return r.trace("count", "-d", r.time(), r.all()) }},
	{"latency", func(r *round) error { return r.trace("latency", "-d", r.time(), r.location()) }},
	{"hist", func(r *round) error { return r.trace("hist", "--of", "arg0", "-d", r.time(), r.location()) }},
	{"record", func(r *round) error {
		return r.trace("record", "--rate", "1000", "--fields", "arg0,arg1", "-d", r.time(), r.location())
	}},
	{"traps", func(r *round) error { return r.trace("count", "--method", "trap", "-d", r.time(), r.server.few) }},
	{"interrupted", (*round).interrupted},
	{"killed", (*round).kill},
	{"two", (*round).two},
	{"resident", (*round).resident},
}

// round is one act on one server.
type round struct {
	*soak
	ctx    context.Context
	server *server
	pids   []int
	direct bool
	before map[int]state
}

func (s *soak) round(ctx context.Context) error {
	s.rounds++
	v := s.servers[s.rnd.IntN(len(s.servers))]
	r := &round{soak: s, ctx: ctx, server: v, pids: v.pids(), direct: s.rnd.IntN(2) == 0, before: map[int]state{}}
	for _, pid := range r.pids {
		r.before[pid] = stateOf(pid)
	}
	a := acts[s.rnd.IntN(len(acts))]
	start, asked := time.Now(), v.answered.Load()
	err := a.do(r)
	took := time.Since(start)
	if err == nil {
		err = r.check()
	}
	fmt.Printf("soak: round %d: %s %s %v: %v, %d requests\n", s.rounds, v.name, a.name, r.pids, took.Round(time.Millisecond), v.answered.Load()-asked)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("round %d: %s %s: %w", s.rounds, v.name, a.name, err)
	}
	return nil
}

// check looks whether all is as it was.
func (r *round) check() error {
	select {
	case <-r.server.ended:
		return fmt.Errorf("the server has ended: %v: %s", r.server.cmd.ProcessState, r.server.said())
	default:
	}
	if err := r.server.failure(); err != nil {
		return fmt.Errorf("a request failed: %w", err)
	}
	asked := r.server.answered.Load()
	for end := time.Now().Add(patience); r.server.answered.Load() < asked+5; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("no answers any more")
		}
	}
	for _, pid := range r.pids {
		if err := r.before[pid].same(pid, r.server.jit); err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return nil
}

func (r *round) location() string { return r.server.probes[r.rnd.IntN(len(r.server.probes))] }

// all is all that a server has; node and a JVM have 50,000 to 80,000 places, which take a
// minute on a busy machine.
func (r *round) all() string {
	if r.server.jit {
		return "libc:*"
	}
	return "*:*"
}

// time is how long to trace.
func (r *round) time() string { return fmt.Sprintf("%dms", 50+r.rnd.IntN(1000)) }

// command is a verb on the round's processes.
func (r *round) command(verb string, args ...string) *tracer {
	line := []string{verb}
	if r.direct {
		line = append(line, "--direct")
	}
	for _, pid := range r.pids {
		line = append(line, "-p", strconv.Itoa(pid))
	}
	return r.tracer(append(line, args...)...)
}

// tracer is a run of ptracer.
type tracer struct {
	*exec.Cmd
	said bytes.Buffer
	done chan error
	line string
}

func (r *round) tracer(args ...string) *tracer {
	t := &tracer{Cmd: exec.Command(r.ptracer, args...), done: make(chan error, 1), line: "ptracer " + strings.Join(args, " ")}
	t.Env = append(os.Environ(), "PTRACER_SOCKET="+r.dir+"/socket/s")
	t.Stdout, t.Stderr = &t.said, &t.said
	return t
}

// begin starts it.
func (t *tracer) begin() error {
	if err := t.Start(); err != nil {
		return err
	}
	go func() { t.done <- t.Wait() }()
	return nil
}

// slow is how long a tracer may take beyond what it was asked for.
const slow = 2 * time.Minute

// end waits for its end, and wants it to have ended well.
func (t *tracer) end(r *round) error {
	select {
	case err := <-t.done:
		if r.verbose {
			fmt.Printf("%s\n%s", t.line, t.said.String())
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %s", t.line, err, t.said.String())
		}
		return nil
	case <-time.After(slow):
		_ = t.Process.Kill()
		return fmt.Errorf("%s: it does not end: %s", t.line, t.said.String())
	}
}

func (r *round) trace(verb string, args ...string) error {
	t := r.command(verb, args...)
	if err := t.begin(); err != nil {
		return err
	}
	return t.end(r)
}

// interrupted ends a tracer by a signal, at a random moment: on a busy machine before it has attached.
func (r *round) interrupted() error {
	t := r.command("count", r.location())
	if err := t.begin(); err != nil {
		return err
	}
	time.Sleep(time.Duration(300+r.rnd.IntN(1500)) * time.Millisecond)
	_ = t.Process.Signal(syscall.SIGTERM)
	err := t.end(r)
	if err != nil && strings.Contains(t.said.String(), "a signal came before the program was traced") {
		return r.left()
	}
	return err
}

// left waits until no process is traced: a server that was attaching for a tracer which has ended
// leaves when it notices.
func (r *round) left() error {
	for end := time.Now().Add(slow); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		traced := slices.ContainsFunc(r.pids, func(pid int) bool {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			return err == nil && line(string(b), "TracerPid:") != "0"
		})
		if !traced {
			return nil
		}
	}
	return errors.New("a tracer that was interrupted does not leave")
}

// kill kills tracers, at random moments, one after the other; then what is left is taken
// away. A server that was started is killed, too.
func (r *round) kill() error {
	r.direct = true
	for range 1 + r.rnd.IntN(3) {
		t := r.command("count", "-d", "10s", r.location())
		if err := t.begin(); err != nil {
			return err
		}
		time.Sleep(time.Duration(r.rnd.IntN(1000)) * time.Millisecond)
		_ = t.Process.Kill()
		<-t.done
		r.killed++
		for _, pid := range r.pids {
			if syscall.Kill(pid, 0) != nil {
				return fmt.Errorf("process %d is gone, after %s was killed: %s", pid, t.line, t.said.String())
			}
		}
	}
	for _, pid := range r.pids {
		t := r.tracer("stop", strconv.Itoa(pid))
		if err := t.begin(); err != nil {
			return err
		}
		if err := t.end(r); err != nil && !strings.Contains(t.said.String(), "no probes were left") {
			return err
		}
	}
	return nil
}

// two has two tracers share the processes.
func (r *round) two() error {
	r.direct = false
	a, b := r.command("count", "-d", "1500ms", r.location()), r.command("latency", "-d", r.time(), r.location())
	if err := a.begin(); err != nil {
		return err
	}
	if err := b.begin(); err != nil {
		_ = a.Process.Kill()
		return err
	}
	errA := a.end(r)
	if err := b.end(r); err != nil {
		return err
	}
	return errA
}

// resident leaves probes in one process, reads them, and takes them out.
func (r *round) resident() error {
	pid := strconv.Itoa(r.pids[r.rnd.IntN(len(r.pids))])
	for _, line := range [][]string{{"count", "--resident", "-p", pid, r.location()}, {"read", pid}, {"stop", pid}} {
		t := r.tracer(line...)
		if err := t.begin(); err != nil {
			return err
		}
		if err := t.end(r); err != nil {
			return err
		}
		time.Sleep(time.Duration(r.rnd.IntN(500)) * time.Millisecond)
	}
	return nil
}
