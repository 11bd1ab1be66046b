package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/aside"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

func init() { tracers["seize"] = seizeAndWait }

// seizeAndWait is a tracer that does nothing, until its standard input ends.
func seizeAndWait() {
	runtime.LockOSThread()
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	tids, err := procfs.Tasks(pid)
	for _, tid := range tids {
		err = errors.Join(err, ptrace.Seize(tid, 0))
	}
	fmt.Println(err)
	os.Stdin.Read(make([]byte, 1))
}

// TestStepAside lets a process go for another tracer, which has it for a while:
// jumps count on, the program does not notice, and nothing is left at the end.
func TestStepAside(t *testing.T) {
	needsJumping(t)
	p := launch(t, "threads", "3", "4000000", "1000")
	text := textOf(t, p.pid)
	s := attach(t, p.pid)
	jump := register(t, s, ProbeSpec{Location: "work"})
	trap := register(t, s, ProbeSpec{Location: "libc:usleep", Rung: breakpoint.Slot})
	watch := register(t, s, ProbeSpec{Location: "libc:nanosleep", Rung: breakpoint.Hardware})
	p.goOn()
	until(t, "hits", func() bool { return s.Hits(trap) > 3 && s.Hits(watch) > 3 })
	if err := s.StepAside(p.pid, hangs, AsideOptions{KeepJumps: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tasks(p.pid); !errors.Is(err, aside.ErrAside) {
		t.Errorf("asked meanwhile: %v", err)
	}
	late := register(t, s, ProbeSpec{Location: "work", Rung: breakpoint.Slot, Pending: true})
	release := otherTracer(t, p.pid)
	was, sleeps := s.Hits(jump), s.Hits(trap)
	// So many that the session has seen the other tracer: it looks every few milliseconds.
	until(t, "jumps that count on", func() bool { return s.Hits(jump) > was+200_000 })
	if s.Hits(trap) != sleeps || s.Hits(late) != 0 || len(s.Processes()) != 1 {
		t.Errorf("%d and %d hits of traps that are not there", s.Hits(trap)-sleeps, s.Hits(late))
	}
	release()
	poll[*event.Reattached](t, s)
	until(t, "hits again", func() bool { return s.Hits(trap) > sleeps && s.Hits(late) > 0 })
	detach(t, s)
	if err := p.stopped(func() { isClean(t, p.pid, text, field(p.pid, "SigCgt")) }); err != nil {
		t.Error(err)
	}
	out, status := p.end()
	if calls := said(t, out, "calls"); s.Hits(jump) > calls || status != 0 {
		t.Errorf("%d hits, %q, status %d", s.Hits(jump), out, status)
	}
}

// TestStepAsideExact loses no hit of a jump while tracers come and go.
func TestStepAsideExact(t *testing.T) {
	needsJumping(t)
	p := launch(t, "threads", "3", "1000000", "1000")
	s := attach(t, p.pid)
	jump := register(t, s, ProbeSpec{Location: "work"})
	p.goOn()
	for range 5 {
		if err := s.StepAside(p.pid, time.Millisecond, AsideOptions{KeepJumps: true}); err != nil {
			t.Fatal(err)
		}
		if e, b := poll[*event.Released](t, s); e.PID != p.pid || b.Text == "" {
			t.Errorf("told %+v of process %d", b, e.PID)
		}
		poll[*event.Reattached](t, s)
		if err := s.StepAside(p.pid, 0); err != nil { // as a client says that has waited for the other tracer
			t.Fatal(err)
		}
		if _, err := s.Tasks(p.pid); err != nil {
			t.Errorf("a wait of 0: %v", err)
		}
	}
	out, status := p.end()
	if got, calls := s.Hits(jump), said(t, out, "calls"); got != calls || status != 0 {
		t.Errorf("%d hits, %d calls, status %d", got, calls, status)
	}
}

// TestStepAsideClean lets a process go with its code as in the file, as a debugger needs it.
// Nothing of ptracer's is in it, and what is not counted is told, with hits or without.
func TestStepAsideClean(t *testing.T) {
	p := launch(t, "threads", "3", pace("1000000", "20000"), "1000")
	text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
	s := attach(t, p.pid)
	ids := []event.ProbeID{register(t, s, ProbeSpec{Location: "work"}), register(t, s, ProbeSpec{Location: "libc:usleep", Rung: breakpoint.Slot}),
		register(t, s, ProbeSpec{Location: "libc:abort"})}
	if err := s.StepAside(p.pid, hangs); err != nil {
		t.Fatal(err)
	}
	if _, b := poll[*event.Released](t, s); !strings.Contains(b.Text, "nothing is counted meanwhile") {
		t.Errorf("told %q", b.Text)
	}
	isClean(t, p.pid, text, caught)
	release := otherTracer(t, p.pid)
	release()
	if err := s.StepAside(p.pid, 0); err != nil { // it may not have been seen
		t.Fatal(err)
	}
	poll[*event.Reattached](t, s)
	p.goOn()
	out, status := p.end()
	if got, calls := s.Hits(ids[0]), said(t, out, "calls"); got != calls || status != 0 {
		t.Errorf("%d hits, %d calls, status %d", got, calls, status)
	}
	for _, id := range ids {
		places := s.Placements(id)
		gaps := 0
		for _, pl := range places {
			if pl.Gap == aside.GapAway {
				gaps++
			}
		}
		if gaps != len(places) || gaps == 0 {
			t.Errorf("probe %d: %d gaps at %d places", id, gaps, len(places))
		}
	}
}

// otherTracer has another process trace one, until release.
func otherTracer(t *testing.T, pid int) (release func()) {
	t.Helper()
	cmd := tracer("seize", pid)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // else the process that it traces could not be ended
	buf := make([]byte, 100)
	if n, _ := out.Read(buf); string(buf[:n]) != "<nil>\n" {
		t.Errorf("the other: %s", buf[:n])
	}
	return func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// TestStepAsideEnds has a session end, and its tracer die, while another tracer has the process.
// The next tracer takes out what has stayed.
func TestStepAsideEnds(t *testing.T) {
	needsJumping(t)
	for _, how := range []string{"detached", "removed", "killed", "exited"} {
		t.Run(how, func(t *testing.T) {
			p := launch(t, "loop", "10", "0")
			text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
			var release func()
			if how == "killed" {
				cmd := tracer("aside", p.pid)
				out, _ := cmd.StdoutPipe()
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 100)
				if n, _ := out.Read(buf); string(buf[:n]) != "<nil>\n" {
					t.Fatalf("the other: %s", buf[:n])
				}
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				release = func() {}
			} else {
				release = asideEnds(t, p, how)
			}
			if how == "exited" {
				release()
			} else {
				now := textOf(t, p.pid)
				if release(); now[""] == text[""] {
					t.Error("nothing has stayed")
				}
				detach(t, attach(t, p.pid)) // which cleans up
				isClean(t, p.pid, text, caught)
				p.goOn()
			}
			if out, status := p.end(); status != 0 || said(t, out, "calls") != 10 {
				t.Errorf("%q, status %d", out, status)
			}
		})
	}
}

// asideEnds ends a session, or its process, while another has it.
func asideEnds(t *testing.T, p *running, how string) (release func()) {
	s := attach(t, p.pid, Options{Life: true})
	id := register(t, s, ProbeSpec{Location: "work"})
	if err := s.StepAside(p.pid, time.Minute, AsideOptions{KeepJumps: true}); err != nil {
		t.Fatal(err)
	}
	release = otherTracer(t, p.pid)
	var err error
	switch how {
	case "detached":
		err = s.Detach()
	case "removed":
		err = s.RemoveProcess(p.pid)
	case "exited":
		p.goOn()
		if e, b := poll[*event.Exit](t, s); e.PID != p.pid || b.Text == "" {
			t.Errorf("told %+v of process %d", b, e.PID)
		}
		if _, ok := s.Exit(p.pid); ok || s.Hits(id) != 10 {
			t.Errorf("%d hits, end known: %v", s.Hits(id), ok)
		}
		return release
	}
	if !errors.Is(err, ErrTraced) {
		t.Errorf("%s: %v", how, err)
	}
	<-s.Done()
	return release
}

func init() { tracers["aside"] = asideForever }

// asideForever steps aside, and waits to be killed.
func asideForever() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	s, err := Attach(context.Background(), pid)
	if err == nil {
		_, err = s.Register(ProbeSpec{Location: "work"})
	}
	if err == nil {
		err = s.StepAside(pid, time.Hour, AsideOptions{KeepJumps: true})
	}
	fmt.Println(err)
	select {}
}
