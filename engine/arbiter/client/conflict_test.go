package client

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/engine/event"
)

// two are two tracers of one fixture.
func two(t *testing.T, fixture string, args ...string) (p *running, a, b *Session) {
	t.Helper()
	socket := serve(t, server.Options{})
	p = launch(t, fixture, args...)
	return p, dial(t, socket, p.pid()), dial(t, socket, p.pid())
}

// stopAt makes a tracer's probe stop the program, and returns the stop.
func stopAt(t *testing.T, s *Session) event.Event {
	t.Helper()
	for e := range s.Events(t.Context()) {
		if e.Kind() == event.KindStopped {
			return e
		}
	}
	t.Fatal("the session has ended")
	return event.Event{}
}

// TestSameReturn has two tracers change what a function returns: the first to write has control
// until it releases the task, the other is told which tracer has it, and may write afterwards.
func TestSameReturn(t *testing.T) {
	p, a, b := two(t, "loop", "1", "0")
	for _, s := range []*Session{a, b} {
		register(t, s, engine.ProbeSpec{Location: "work%return", Action: engine.ActionStop})
	}
	p.goOn()
	stop := stopAt(t, a)
	stopAt(t, b)
	result := 10 // rax
	if a.ISA().Name() == "arm64" {
		result = 0
	}
	set := func(s *Session, v uint64) error {
		r, err := s.Registers(stop.TID)
		if err != nil {
			return err
		}
		r[result] = v
		return s.SetRegisters(stop.TID, r)
	}
	if err := set(a, 100); err != nil {
		t.Error(err)
	}
	if err := set(b, 200); !errors.Is(err, arbiter.ErrControl) || !strings.Contains(err.Error(), t.Name()) {
		t.Errorf("b: %v", err)
	}
	if r, err := b.Registers(stop.TID); err != nil || r[result] != 100 {
		t.Errorf("b reads %d, %v", r[result], err)
	}
	if err := errors.Join(a.Resume(stop.TID), set(b, 300), b.Resume(stop.TID)); err != nil {
		t.Error(err)
	}
	if err := p.end(); err != nil || p.said(t, "sum") != 300 {
		t.Errorf("%v, %q", err, p.out.String())
	}
}

// TestFullRegisters has two tracers take the debug registers, and a third one is told which ones.
func TestFullRegisters(t *testing.T) {
	p, a, b := two(t, "loop", "1", "0")
	watch := engine.ProbeSpec{Location: "work", Rung: breakpoint.Hardware}
	for i := range 4 {
		register(t, []*Session{a, b}[i/3], watch)
	}
	_, err := a.Register(watch)
	if !errors.Is(err, engine.ErrDebug) || strings.Count(err.Error(), t.Name()) != 2 {
		t.Errorf("a fifth: %v", err)
	}
	if err := b.Detach(); err != nil {
		t.Error(err)
	}
	id := register(t, a, watch)
	p.goOn()
	<-a.Done()
	if n := a.Hits(id); n != 1 {
		t.Errorf("%d hits", n)
	}
}

// TestKill has one tracer end the process: the other is told which one, and how the process has
// ended.
func TestKill(t *testing.T) {
	p, a, b := two(t, "loop", "1", "0")
	if err := b.Control(t.Context(), p.pid(), arbiter.Ask{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Signal(p.pid(), int(syscall.SIGKILL)); !errors.Is(err, arbiter.ErrControl) {
		t.Errorf("killed under another's control: %v", err)
	}
	if err := errors.Join(b.Yield(p.pid()), a.Signal(p.pid(), int(syscall.SIGKILL))); err != nil {
		t.Fatal(err)
	}
	<-b.Done()
	for e := range b.Events(t.Context()) {
		if w, ok := e.Body.(*event.Warning); ok && strings.Contains(w.Text, "ends process") {
			if e, ok := b.Exit(p.pid()); !ok || e.Signal != int(syscall.SIGKILL) {
				t.Errorf("%+v, %v", e, ok)
			}
			return
		}
	}
	t.Error("nobody was told")
}

// TestConsistent has one tracer write memory that another reads repeatedly: each read returns the
// bytes of a single write.
func TestConsistent(t *testing.T) {
	p, a, b := two(t, "loop", "1", "0")
	if err := errors.Join(a.Interrupt(p.pid()), b.Interrupt(p.pid())); err != nil {
		t.Fatal(err)
	}
	r, err := a.Registers(p.pid())
	if err != nil {
		t.Fatal(err)
	}
	at := arch.Addr(r[a.ISA().SPReg()])&^4095 - 8*4096
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range byte(200) {
			if err := a.WriteMemory(p.pid(), at, bytes.Repeat([]byte{i}, 3*4096)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for range 200 {
			got := make([]byte, 3*4096)
			if err := b.ReadMemory(p.pid(), at, got); err != nil || bytes.Count(got[1:], got[:1]) < len(got)-1 && got[0] != 0 {
				t.Errorf("%v, torn: % x ... % x", err, got[:4], got[len(got)-4:])
				return
			}
		}
	})
	wg.Wait()
	if err := b.WriteMemory(p.pid(), at, []byte{1}); !errors.Is(err, arbiter.ErrControl) {
		t.Errorf("b wrote: %v", err)
	}
}

// TestAside lets another tracer have the process: both tracers are told, and when the process is
// back both count again.
func TestAside(t *testing.T) {
	p, a, b := two(t, "threads", "2", "600000", "1000")
	count := register(t, b, engine.ProbeSpec{Location: "libc:usleep", Rung: breakpoint.Slot})
	p.goOn()
	if err := a.StepAside(p.pid(), 1); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Session{a, b} {
		var seen []event.Kind
		for e := range s.Events(t.Context()) {
			k := e.Kind()
			if k == event.KindReleased || k == event.KindReattached {
				seen = append(seen, k)
			}
			if k == event.KindReattached {
				break
			}
		}
		if len(seen) != 2 || seen[0] != event.KindReleased {
			t.Errorf("told %v", seen)
		}
	}
	was := b.Hits(count)
	until(t, "hits again", func() bool { return b.Hits(count) > was })
	if err := p.end(); err != nil {
		t.Error(err)
	}
}
