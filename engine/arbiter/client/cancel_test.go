package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/server"
)

// TestAttachCancelled cancels attaches at any moment: no tracer is left, the program is not traced,
// continues, and can be traced.
func TestAttachCancelled(t *testing.T) {
	socket := serve(t, server.Options{})
	p := launch(t, "loop", "100", "0")
	d := Dialer{Socket: socket, Name: "hasty"}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := d.Attach(done, p.pid())
	var a *engine.AttachError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &a) || a.PID != p.pid() || !strings.HasPrefix(err.Error(), "attach to "+strconv.Itoa(p.pid())) {
		t.Errorf("%v", err)
	}
	cancelled, rounds := 0, 30
	for range rounds {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(200))*time.Millisecond)
		s, err := d.Attach(ctx, p.pid())
		switch {
		case err == nil:
			<-ctx.Done() // this does not end the session
			if tasks, err := s.Tasks(p.pid()); err != nil || len(tasks) == 0 {
				t.Errorf("%v, %v", tasks, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		case errors.Is(err, context.DeadlineExceeded):
			cancelled++
		default:
			t.Error(err)
		}
		cancel()
	}
	t.Logf("%d of %d cancelled", cancelled, rounds)
	until(t, "no tracer is left", func() bool {
		list, err := d.Tracers(0)
		return err == nil && len(list) == 0
	})
	until(t, "the program is free", func() bool { return p.tracer() == 0 })
	s := dial(t, socket, p.pid())
	id := register(t, s, engine.ProbeSpec{Location: "work"})
	p.goOn()
	if err := p.end(); err != nil || s.Hits(id) != 100 {
		t.Errorf("%v, %d hits", err, s.Hits(id))
	}
}

// TestMuteServer has a server that accepts clients and sends nothing: ctx ends the wait for it.
func TestMuteServer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := launch(t, "loop", "1", "0")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := (Dialer{Socket: socket}).Attach(ctx, p.pid()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	p.goOn()
	if err := p.end(); err != nil {
		t.Error(err)
	}
}
