package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// over is whether an error says that something is more than one may have.
func over(t *testing.T, err error, what string) {
	t.Helper()
	if !errors.Is(err, arbiter.ErrQuota) || !strings.Contains(err.Error(), what) {
		t.Errorf("%s: %v", what, err)
	}
}

// TestQuotas asks for more than there may be of each thing; what is given back can
// be had again.
func TestQuotas(t *testing.T) {
	p := launch(t, "loop", "1", "0")
	quota := arbiter.Quota{Tracers: 2, Probes: 3, Places: 20, Handlers: 2, Memory: 2 * (1 << 20)}
	socket := serve(t, server.Options{Options: arbiter.Options{Quota: quota}})
	small := engine.Options{Buffer: 256}
	if _, err := (Dialer{Socket: socket}).Attach(p.pid(), engine.Options{Buffer: 1 << 16}); err == nil {
		t.Error("a queue of 65,536 events")
	} else {
		over(t, err, "bytes")
	}
	a, b := dial(t, socket, p.pid(), small), dial(t, socket, p.pid(), small)
	_, err := (Dialer{Socket: socket}).Attach(p.pid(), small)
	over(t, err, "2 tracers")

	for range 3 {
		register(t, a, engine.ProbeSpec{Location: "work"})
	}
	_, err = b.Register(engine.ProbeSpec{Location: "work"})
	over(t, err, "3 probes")
	if err := a.Unregister(2); err != nil {
		t.Error(err)
	}
	_, err = b.Register(engine.ProbeSpec{Location: "libc:mem*"})
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
		c, err := Dialer{Socket: socket}.Attach(p.pid(), small)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
}

// TestLimits has a user ask for too much at once, and come too often.
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
