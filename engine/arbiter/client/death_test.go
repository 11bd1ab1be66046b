package client

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/event"
)

// TestClientDies has a tracer that holds a task, controls the process and has a probe killed,
// disconnected, or stopped for ever: all that it had ends, the other tracers and the program
// continue.
func TestClientDies(t *testing.T) {
	for _, how := range []string{"killed", "closed", "stopped"} {
		t.Run(how, func(t *testing.T) {
			socket := serve(t, server.Options{Hang: 2 * time.Second})
			p := launch(t, "threads", "2", "2000", "10")
			other := dial(t, socket, p.pid())
			count := register(t, other, engine.ProbeSpec{Location: "work"})
			a := newRemote(t, nil)
			a.ok(request{Op: "attach", Socket: socket, ID: p.pid(), Text: "victim"})
			a.ok(request{Op: "register", Text: "work", Stop: true})
			a.ok(request{Op: "control", ID: p.pid()})
			p.goOn()
			a.ok(request{Op: "wait for", Text: "stopped"})
			if err := other.WriteMemory(p.pid(), 0, []byte{1}); err == nil || !strings.Contains(err.Error(), "victim (process") {
				t.Errorf("wrote: %v", err)
			}
			switch how {
			case "killed":
				a.signal(syscall.SIGKILL)
			case "closed":
				a.ok(request{Op: "close"})
			case "stopped":
				a.signal(syscall.SIGSTOP)
			}
			if err := p.end(); err != nil || p.said(t, "calls") != 4000 {
				t.Errorf("%v, %q", err, p.out.String())
			}
			<-other.Done()
			if n := other.Hits(count); n != 4000 {
				t.Errorf("%d hits", n)
			}
		})
	}
}

// TestHangs stops a tracer while it is sent more than fits into any buffer: the program does not
// wait for it, and the server drops it.
func TestHangs(t *testing.T) {
	socket := serve(t, server.Options{Hang: 2 * time.Second})
	p := launch(t, "threads", "2", "30000", "10")
	other := dial(t, socket, p.pid())
	count := register(t, other, engine.ProbeSpec{Location: "work"})
	a := newRemote(t, nil)
	a.ok(request{Op: "attach", Socket: socket, ID: p.pid(), Text: "victim"})
	a.ok(request{Op: "register", Text: "work", Stop: true})
	a.ok(request{Op: "unregister", ID: 1})
	a.ok(request{Op: "tell", Text: "work"})
	a.signal(syscall.SIGSTOP)
	p.goOn()
	start := time.Now()
	if err := p.end(); err != nil {
		t.Error(err)
	}
	<-other.Done()
	if n := other.Hits(count); n != 60000 {
		t.Errorf("%d hits", n)
	}
	const least = 100 // of 60,000: where stops are slow the server drops it meanwhile, and only jumps are left
	if st := other.Stats(); st.Hits < least {
		t.Errorf("%+v: it was not told anything", st)
	}
	t.Logf("60,000 stops in %v", time.Since(start))
	d := Dialer{Socket: socket}
	until(t, "end of a tracer that hangs", func() bool {
		list, err := d.Tracers(0)
		if err != nil {
			t.Fatal(err)
		}
		return len(list) <= 1
	})
}

// TestServerDies kills a server that has probes in a program, and one of its tasks stopped: the
// program goes on to its right end; tracers are told; the next tracer finds a server, or starts
// one, and cleans up.
func TestServerDies(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	cmd, _ := serveApart(t, socket)
	p := launch(t, "threads", "2", "1200000", "1000")
	s := dial(t, socket, p.pid())
	register(t, s, engine.ProbeSpec{Location: "work"})
	register(t, s, engine.ProbeSpec{Location: "libc:usleep", Action: engine.ActionStop})
	p.goOn()
	if e, err := s.Poll(context.Background()); err != nil || e.Kind() != event.KindStopped {
		t.Fatalf("%+v, %v", e, err)
	}
	_ = cmd.Process.Kill()
	<-s.Done()
	var said string
	for e := range s.Events(t.Context()) {
		if w, ok := e.Body.(*event.Warning); ok {
			said = w.Text
		}
	}
	if said != wire.ErrServer.Error() {
		t.Errorf("told %q", said)
	}
	if err := s.Interrupt(p.pid()); !errors.Is(err, wire.ErrServer) {
		t.Errorf("asked: %v", err)
	}
	if !errors.Is(s.Err(), wire.ErrServer) {
		t.Errorf("ended by %v", s.Err())
	}
	if err := s.Detach(); err != nil {
		t.Errorf("detached from a server that is gone: %v", err)
	}
	if _, err := (Dialer{Socket: socket}).Attach(context.Background(), p.pid()); !errors.Is(err, ErrNoServer) {
		t.Errorf("attached: %v", err)
	}
	d := Dialer{Socket: socket, Start: func(string) error { serveApart(t, socket); return nil }}
	s, err := d.Attach(context.Background(), p.pid())
	if err != nil {
		t.Fatal(err)
	}
	count := register(t, s, engine.ProbeSpec{Location: "work"})
	until(t, "hits", func() bool { return s.Hits(count) > 0 })
	if err := s.Detach(); err != nil {
		t.Error(err)
	}
	if err := p.end(); err != nil || p.said(t, "calls") != 2400000 {
		t.Errorf("%v, %q", err, p.out.String())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestServerEnds has a server end normally: tracers are told, and nothing of ptracer's is left in
// the program.
func TestServerEnds(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	cmd, in := serveApart(t, socket)
	p := launch(t, "loop", "10", "0")
	s := dial(t, socket, p.pid())
	register(t, s, engine.ProbeSpec{Location: "work"})
	in.Close()
	<-s.Done()
	e, err := s.Poll(t.Context())
	if w, ok := e.Body.(*event.Warning); err != nil || !ok || !strings.Contains(w.Text, "let the processes go") || s.Err() != nil {
		t.Errorf("told %+v, %v; ended by %v", w, err, s.Err())
	}
	if len(s.Placements(0)) != 1 {
		t.Error("what was found out can't be read any more")
	}
	if err := errors.Join(s.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
	if tracer := status(p.pid(), "TracerPid"); tracer != "0" {
		t.Errorf("traced by %s", tracer)
	}
	p.goOn()
	if err := p.end(); err != nil {
		t.Error(err)
	}
}
