package client

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// over checks that an error says that something is more than a user may have.
func over(t *testing.T, err error, what string) {
	t.Helper()
	if !errors.Is(err, arbiter.ErrQuota) || !strings.Contains(err.Error(), what) {
		t.Errorf("%s: %v", what, err)
	}
}

// TestQuotas asks for more than the limit of each thing; what is released can be requested again.
func TestQuotas(t *testing.T) {
	p := launch(t, "loop", "1", "0")
	quota := arbiter.Quota{Tracers: 2, Probes: 3, Places: 20, Handlers: 2, Memory: 2 * (1 << 20)}
	socket := serve(t, server.Options{Options: arbiter.Options{Quota: quota}})
	small := engine.Options{Buffer: 256}
	if _, err := (Dialer{Socket: socket}).Attach(context.Background(), p.pid(), engine.Options{Buffer: 1 << 16}); err == nil {
		t.Error("a queue of 65,536 events")
	} else {
		over(t, err, "bytes")
	}
	a, b := dial(t, socket, p.pid(), small), dial(t, socket, p.pid(), small)
	_, err := (Dialer{Socket: socket}).Attach(context.Background(), p.pid(), small)
	over(t, err, "2 tracers")

	for range 3 {
		register(t, a, engine.ProbeSpec{Location: "work"})
	}
	_, err = b.Register(engine.ProbeSpec{Location: "work"})
	over(t, err, "3 probes")
	if err := a.Unregister(2); err != nil {
		t.Error(err)
	}
	_, err = b.Register(engine.ProbeSpec{Location: "libc:m*"})
	over(t, err, "20 probed places")
	register(t, b, engine.ProbeSpec{Location: "work"})

	h, err := a.OpenHandler(engine.HandlerSpec{Name: "count"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.OpenHandler(engine.HandlerSpec{Name: "record", Params: builtin.Params{Exprs: []string{"arg0"}, Ring: 4 << 20}})
	over(t, err, "bytes")
	if _, err := b.OpenHandler(engine.HandlerSpec{Name: "count"}); err != nil {
		t.Error(err)
	}
	_, err = b.OpenHandler(engine.HandlerSpec{Name: "count"})
	over(t, err, "2 handlers")
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.OpenHandler(engine.HandlerSpec{Name: "count"}); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	until(t, "a tracer's end", func() bool {
		c, err := Dialer{Socket: socket}.Attach(context.Background(), p.pid(), small)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
}

// TestLimits has a user ask for too much at once, and connect too often.
func TestLimits(t *testing.T) {
	p := launch(t, "loop", "1", "0")
	socket := serve(t, server.Options{Limits: server.Limits{Connections: 2, Requests: 2}})
	a := dial(t, socket, p.pid())
	if err := a.Interrupt(p.pid()); err != nil {
		t.Error(err)
	}
	b := dial(t, socket, p.pid())
	over(t, b.Interrupt(p.pid()), "2 requests at once")
	_, err := Dialer{Socket: socket}.Tracers(0)
	over(t, err, "2 connections")
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	until(t, "a connection's end", func() bool { _, err := Dialer{Socket: socket}.Tracers(0); return err == nil })
}

// TestCrowd opens a thousand connections at once that send nothing, nonsense, or half a request:
// the tracer that was there before continues to count, one more connection is refused, and when
// they are closed new ones are accepted.
func TestCrowd(t *testing.T) {
	const crowd, calls = 1000, 2000
	socket := serve(t, server.Options{})
	p := launch(t, "loop", strconv.Itoa(calls), "100")
	s := dial(t, socket, p.pid())
	id := register(t, s, engine.ProbeSpec{Location: "work"})
	p.goOn()
	var list []net.Conn
	come := func(says string) {
		c, err := net.DialTimeout("unix", socket, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, says)
		list = append(list, c)
	}
	for i := range crowd {
		come([]string{"", "PTRACER MAPS x", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00", strings.Repeat("x", 100)}[i%4])
	}
	if n := s.Hits(id); n > calls {
		t.Errorf("%d hits", n)
	}
	// The place of a connection that has sent nonsense is free again: silent ones take it.
	until(t, "one more is refused", func() bool {
		come("")
		c, err := Dialer{Socket: socket}.Attach(context.Background(), p.pid())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	for _, c := range list {
		c.Close()
	}
	until(t, "others can come", func() bool {
		c, err := Dialer{Socket: socket}.Attach(context.Background(), p.pid())
		if err == nil {
			err = c.Close()
		}
		return err == nil || errors.Is(err, engine.ErrGone)
	})
	p.end()
	if n := s.Hits(id); n != calls {
		t.Errorf("%d hits of %d", n, calls)
	}
}
