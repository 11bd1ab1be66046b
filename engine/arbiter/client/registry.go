package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// Registry has a server's handlers by name, for all its tracers that the handlers' modes admit, for
// as long as the server runs.
type Registry struct{ *link }

// Registry returns the server's registry.
func (d Dialer) Registry() (*Registry, error) {
	c, err := d.dial(context.Background())
	if err != nil {
		return nil, err
	}
	return &Registry{c}, nil
}

// Close ends the connection.
func (r *Registry) Close() error { return r.conn.Close() }

// Register adds a handler under a name; mode says which other users may run it, replace it, or read
// its results.
func (r *Registry) Register(name string, h *build.Handler, mode handler.Mode) error {
	_, err := call(r.api.RegisterHandler, registration(name, h, mode))
	return err
}

// Replace makes a name stand for another handler. Handlers that are open do not change.
func (r *Registry) Replace(name string, h *build.Handler) error {
	_, err := call(r.api.ReplaceHandler, registration(name, h, 0))
	return err
}

func registration(name string, h *build.Handler, mode handler.Mode) *wire.RegisterHandlerRequest {
	m := &wire.RegisterHandlerRequest{Name: name, Context: h.Context.Arch, Mode: uint32(mode)}
	m.Entry, m.Exit = wire.FromHandler(h)
	return m
}

// Remove removes a name.
func (r *Registry) Remove(name string) error {
	_, err := call(r.api.RemoveHandler, &wire.RemoveHandlerRequest{Name: name})
	return err
}

// Opened is a handler that a tracer has opened.
type Opened struct {
	Tracer, Handler int
	Name            string
	Version         int
	UID             uint32 // of the tracer
	Worker          string // at a server for all users: the worker that has the tracer
	params          []byte
}

// List describes all handlers by name, and the open ones that the user may read.
func (r *Registry) List() (names []handler.Info, open []Opened, err error) {
	reply, err := call(r.api.ListHandlers, &wire.ListHandlersRequest{})
	for _, m := range reply.GetHandlers() {
		names = append(names, handler.Info{Name: m.Name, Doc: m.Doc, Builtin: m.Builtin, Version: int(m.Version), Instances: int(m.Opened),
			Access: handler.Access{UID: m.Uid, GID: m.Gid, Mode: handler.Mode(m.Mode)}})
	}
	if err != nil {
		return nil, nil, err
	}
	err = r.workers(func(of *link) error {
		theirs := reply
		if of != r.link {
			if theirs, err = call(of.api.ListHandlers, &wire.ListHandlersRequest{}); err != nil {
				return err
			}
		}
		for _, m := range theirs.Opened {
			open = append(open, Opened{int(m.Tracer), int(m.Handler), m.Name, int(m.Version), m.Uid, of.info.Worker, m.Params})
		}
		return nil
	})
	return names, open, err
}

// Read returns the results so far of a handler that some tracer has opened: the contents of its
// maps if the handler is not built in.
func (r *Registry) Read(o Opened, arch string) (result build.Result, err error) {
	var p builtin.Params
	if len(o.params) > 0 {
		if err := json.Unmarshal(o.params, &p); err != nil {
			return nil, fmt.Errorf("handler %s: its parameters: %w", o.Name, err)
		}
	}
	of, err := r.worker(context.Background(), o.Worker)
	if err != nil {
		return nil, err
	}
	if of != r.link {
		defer of.conn.Close()
	}
	h := &handle{s: &Session{link: of}, info: engine.HandlerInfo{Name: o.Name}}
	if h.made, err = meaning(engine.HandlerSpec{Name: o.Name}, p, arch); err != nil {
		return nil, err
	}
	if err := h.mapFrom(fmt.Sprintf("PTRACER READ %d %d\n", o.Tracer, o.Handler)); err != nil {
		return nil, err
	}
	result, err = h.read()
	return result, errors.Join(err, h.set.Close())
}
