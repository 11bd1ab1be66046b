package client

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/server"
)

// TestLongNumbers asks for a process and its tasks by numbers that equal theirs in the lowest 32
// bits: they do not exist, and nothing is done to the real ones.
func TestLongNumbers(t *testing.T) {
	const more = 1 << 32
	socket := serve(t, server.Options{})
	p, q := launch(t, "loop", "1000000", "100"), launch(t, "loop", "1", "0")
	if s, err := (Dialer{Socket: socket}).Attach(context.Background(), p.pid()+more); !errors.Is(err, engine.ErrGone) {
		t.Errorf("attach: %v %v", s, err)
	} else if _, direct := engine.Attach(context.Background(), p.pid()+more); direct == nil || err.Error() != direct.Error() {
		t.Errorf("attach: %v; directly: %v", err, direct)
	}
	s := dial(t, socket, p.pid())
	pid := p.pid() + more
	for name, f := range map[string]func() error{
		"add":            func() error { return s.AddProcess(q.pid() + more) },
		"remove":         func() error { return s.RemoveProcess(pid) },
		"register":       func() error { _, err := s.Register(engine.ProbeSpec{Location: "work", PID: pid}); return err },
		"watch":          func() error { _, err := s.Register(engine.ProbeSpec{Location: "work", Len: more + 8}); return err },
		"interrupt":      func() error { return s.Interrupt(pid) },
		"interrupt task": func() error { return s.InterruptTask(pid) },
		"step":           func() error { return s.Step(pid) },
		"resume":         func() error { return s.Resume(pid) },
		"signal":         func() error { return s.Signal(pid, int(syscall.SIGKILL)) },
		"a signal":       func() error { return s.Signal(p.pid(), more+int(syscall.SIGKILL)) },
		"aside":          func() error { return s.StepAside(pid, time.Second) },
		"tasks":          func() error { _, err := s.Tasks(pid); return err },
		"read":           func() error { return s.ReadMemory(pid, 0x1000, make([]byte, 1)) },
		"control":        func() error { return s.Control(t.Context(), pid, arbiter.Ask{}) },
	} {
		if err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, ok := s.Exit(pid); ok {
		t.Error("an exit")
	}
	if list, err := (Dialer{Socket: socket}).Tracers(pid); err != nil || len(list) != 0 {
		t.Errorf("tracers: %v, %v", list, err)
	}
	if tracer := status(q.pid(), "TracerPid"); tracer != "0" || status(p.pid(), "TracerPid") == "0" {
		t.Errorf("the other one is traced by %s, its own by %s", tracer, status(p.pid(), "TracerPid"))
	}
	if err := syscall.Kill(p.pid(), 0); err != nil || len(s.Processes()) != 1 {
		t.Errorf("%s: %v, %v", strconv.Itoa(p.pid()), err, s.Processes())
	}
}
