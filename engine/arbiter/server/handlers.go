package server

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/failure"
)

// Requests about handlers that a tracer has opened.

// opened is a handler that a tracer has opened, with its name.
type opened struct {
	engine.Handler
	spec engine.HandlerSpec
}

// handler finds one of the tracer's open handlers.
func (t *tracer) handler(n int32) (*opened, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < 1 || int(n) > len(t.handlers) || t.handlers[n-1] == nil {
		return nil, fmt.Errorf("%d: %w", n, handler.ErrNotFound)
	}
	return t.handlers[n-1], nil
}

// keep gives a handler its number.
func (t *tracer) keep(o *opened) int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handlers = append(t.handlers, o)
	return int32(len(t.handlers))
}

// forget removes a handler from the list.
func (t *tracer) forget(n int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handlers[n-1] = nil
}

// rights are what a handler may do for a tracer that may trace the process: everything.
const rights = program.ReadMemory | program.WriteMemory | program.Override

// asPeer converts a peer into the form that the registry of handlers uses.
func asPeer(p access.Peer) handler.Peer {
	return handler.Peer{UID: p.UID, GIDs: append([]uint32{p.GID}, p.GIDs...), Rights: rights}
}

// OpenHandler implements wire.ArbiterServer.
func (s handling) OpenHandler(ctx context.Context, r *wire.OpenHandlerRequest) (*wire.OpenHandlerReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	spec, err := t.specOf(r)
	if err == nil && spec.Handler == nil {
		err = s.know(ctx, spec.Name)
	}
	if err != nil {
		return nil, err
	}
	h, err := t.open(spec, r.Where)
	if err != nil {
		return nil, err
	}
	i := h.Info()
	reply := &wire.OpenHandlerReply{Name: i.Name, Version: int32(i.Version), Where: i.Where.String(), Why: i.Why, Steps: int32(i.Steps),
		Records: i.Records, Writes: i.Writes}
	if sh, ok := h.(engine.SharedHandler); ok {
		if reply.Params, err = json.Marshal(sh.Params()); err != nil {
			return nil, err
		}
	}
	reply.Handler = t.keep(&opened{h, spec})
	return reply, nil
}

// specOf returns the spec of the handler that a request asks for.
func (t *tracer) specOf(r *wire.OpenHandlerRequest) (engine.HandlerSpec, error) {
	spec := engine.HandlerSpec{Name: r.Name}
	if len(r.Params) > 0 {
		if err := json.Unmarshal(r.Params, &spec.Params); err != nil {
			return spec, fmt.Errorf("%w: params: %w", wire.ErrMessage, err)
		}
	}
	if r.Entry != nil || r.Exit != nil {
		var err error
		if spec.Handler, err = wire.ToHandler(r.Entry, r.Exit, r.Context); err != nil {
			return spec, err
		}
	}
	if r.Share != 0 {
		of, err := t.handler(r.Share)
		if err != nil {
			return spec, err
		}
		spec.Share = of.Handler
	}
	return spec, nil
}

// open opens a handler in the program or in the engine. It opens none in the kernel: such a handler
// would be loaded with the server's rights, and its maps would be the kernel's.
func (t *tracer) open(spec engine.HandlerSpec, where string) (engine.Handler, error) {
	var err error
	if spec.Where, err = handler.ParseWhere(where); err != nil && where != "" {
		return nil, fmt.Errorf("%w: %w", wire.ErrMessage, err)
	}
	switch spec.Where {
	case handler.Kernel:
		return nil, failure.Unsupportedf("handlers in the kernel: trace the process directly (--direct)")
	case handler.Auto:
		spec.Where = handler.Tracee
		if h, err := arbiter.OpenHandlerFor(t.Tracer, asPeer(t.peer), spec); err == nil {
			return h, nil
		}
		spec.Where = handler.Engine
	}
	return arbiter.OpenHandlerFor(t.Tracer, asPeer(t.peer), spec)
}

// CloseHandler implements wire.ArbiterServer.
func (s handling) CloseHandler(ctx context.Context, r *wire.HandlerRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error {
		h, err := t.handler(r.Handler)
		if err != nil {
			return err
		}
		t.forget(r.Handler)
		return h.Close()
	})
}

// handler finds a handler of a tracer, for the process that has made the tracer.
func (s *Server) handler(ctx context.Context, token string, n int32) (*tracer, *opened, error) {
	t, err := s.tracer(ctx, token)
	if err != nil {
		return nil, nil, err
	}
	h, err := t.handler(n)
	return t, h, err
}

// HandlerState implements wire.ArbiterServer.
func (s handling) HandlerState(ctx context.Context, r *wire.HandlerRequest) (*wire.HandlerStateReply, error) {
	_, h, err := s.handler(ctx, r.Token, r.Handler)
	if err != nil {
		return nil, err
	}
	return &wire.HandlerStateReply{Failures: h.Info().Failures}, nil
}

// maxShapes is how many forms of records a reply has.
const maxShapes = 100

// HandlerShapes implements wire.ArbiterServer.
func (s handling) HandlerShapes(ctx context.Context, r *wire.HandlerShapesRequest) (*wire.HandlerShapesReply, error) {
	_, h, err := s.handler(ctx, r.Token, r.Handler)
	if err != nil {
		return nil, err
	}
	reply := &wire.HandlerShapesReply{}
	sh, ok := h.Handler.(engine.SharedHandler)
	if !ok {
		return reply, nil
	}
	list := sh.Shapes()
	from := min(max(int(r.From), 0), len(list))
	for _, p := range list[from:min(from+maxShapes, len(list))] {
		text, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		reply.Params = append(reply.Params, text)
	}
	return reply, nil
}

// TakeRecords implements wire.ArbiterServer.
func (s handling) TakeRecords(ctx context.Context, r *wire.TakeRecordsRequest) (*wire.TakeRecordsReply, error) {
	t, h, err := s.handler(ctx, r.Token, r.Handler)
	if err != nil {
		return nil, err
	}
	sh, ok := h.Handler.(engine.SharedHandler)
	if !ok {
		return nil, os.ErrClosed
	}
	t.mu.Lock() // one reader at a time
	defer t.mu.Unlock()
	pos, err := sh.Take(r.Position)
	return &wire.TakeRecordsReply{Position: pos}, err
}

// RunHandler implements wire.ArbiterServer. The results are in the maps of the handler that the
// request names, which has the same programs.
func (s handling) RunHandler(ctx context.Context, r *wire.RunHandlerRequest) (*wire.RunHandlerReply, error) {
	t, h, err := s.handler(ctx, r.Token, r.Handler)
	if err != nil {
		return nil, err
	}
	spec := h.spec
	spec.Share = h.Handler
	run, err := arbiter.RunHandlerFor(t.Tracer, asPeer(t.peer), spec, int(r.Tid), r.Args...)
	return &wire.RunHandlerReply{Value: run.Return, Output: wire.ToBytes(run.Output)}, err
}
