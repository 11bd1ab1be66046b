package client

import (
	"context"
	"syscall"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
)

// more are requests that only some tests make of agents.
func more(a *agent, r request, b *answer) error {
	switch r.Op {
	case "tell":
		id, err := a.s.Register(engine.ProbeSpec{Location: r.Text, Action: engine.ActionTell, Args: []engine.Arg{{Text: true}}})
		b.N = uint64(id)
		return err
	case "places":
		b.N = uint64(len(a.s.Placements(0)))
		return nil
	case "kill":
		return a.s.Signal(r.ID, int(syscall.SIGKILL))
	case "tracers":
		list, err := Dialer{Socket: r.Socket}.Tracers(0)
		b.N = uint64(len(list))
		return err
	case "token":
		c, err := Dialer{Socket: r.Socket}.dial(context.Background())
		if err != nil {
			return err
		}
		defer c.conn.Close()
		_, err = call(c.api.Processes, &wire.TracerRequest{Token: r.Text})
		return err
	}
	if r.Op == "open handler" {
		_, err := a.s.OpenHandler(engine.HandlerSpec{Name: r.Text})
		return err
	}
	return handlers(a, r, b)
}
