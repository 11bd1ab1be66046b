package server

import (
	"context"

	"google.golang.org/grpc"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/event"
)

// Requests about processes and probes.

var empty = &wire.Empty{}

// answer runs a request of a tracer's with an empty reply, or an error.
func (s *Server) answer(ctx context.Context, token string, f func(*tracer) error) (*wire.Empty, error) {
	t, err := s.tracer(ctx, token)
	if err == nil {
		err = f(t)
	}
	return empty, err
}

// Detach implements wire.ArbiterServer.
func (s tracing) Detach(ctx context.Context, r *wire.TracerRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Detach() })
}

// AddProcess implements wire.ArbiterServer.
func (s tracing) AddProcess(ctx context.Context, r *wire.ProcessRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.AddProcess(int(r.Pid)) })
}

// RemoveProcess implements wire.ArbiterServer.
func (s tracing) RemoveProcess(ctx context.Context, r *wire.ProcessRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.RemoveProcess(int(r.Pid)) })
}

// Processes implements wire.ArbiterServer.
func (s tracing) Processes(ctx context.Context, r *wire.TracerRequest) (*wire.ProcessesReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	reply := &wire.ProcessesReply{}
	for _, pid := range t.Processes() {
		reply.Pids = append(reply.Pids, int32(pid))
	}
	return reply, nil
}

// Exit implements wire.ArbiterServer.
func (s tracing) Exit(ctx context.Context, r *wire.ProcessRequest) (*wire.ExitReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	e, ok := t.Exit(int(r.Pid))
	return &wire.ExitReply{Known: ok, Status: int32(e.Status), Signal: int32(e.Signal)}, nil
}

// Stats implements wire.ArbiterServer.
func (s tracing) Stats(ctx context.Context, r *wire.TracerRequest) (*wire.StatsReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	st := t.Stats()
	return &wire.StatsReply{Stops: st.Stops, Hits: st.Hits, Missed: st.Missed, Pause: int64(st.Pause), Uncounted: st.Uncounted}, nil
}

// Register implements wire.ArbiterServer.
func (s tracing) Register(ctx context.Context, r *wire.RegisterRequest) (*wire.RegisterReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	spec, err := wire.ToSpec(r)
	if err != nil {
		return nil, err
	}
	if r.Handler != 0 {
		h, err := t.handler(r.Handler)
		if err != nil {
			return nil, err
		}
		spec.Handler = h.Handler
	}
	id, err := t.Register(spec)
	return &wire.RegisterReply{Probe: int32(id)}, err
}

// Unregister implements wire.ArbiterServer.
func (s tracing) Unregister(ctx context.Context, r *wire.ProbeRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Unregister(event.ProbeID(r.Probe)) })
}

// Begin implements wire.ArbiterServer.
func (s tracing) Begin(ctx context.Context, r *wire.ProbesRequest) (*wire.MomentReply, error) {
	return s.moment(ctx, r, (*tracer).Begin)
}

// Finish implements wire.ArbiterServer.
func (s tracing) Finish(ctx context.Context, r *wire.ProbesRequest) (*wire.MomentReply, error) {
	return s.moment(ctx, r, (*tracer).Finish)
}

// moment answers a request for one moment at which several probes begin or finish.
func (s tracing) moment(ctx context.Context, r *wire.ProbesRequest, f func(*tracer, ...event.ProbeID) (int64, error)) (*wire.MomentReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	ids := make([]event.ProbeID, len(r.Probes))
	for i, id := range r.Probes {
		ids[i] = event.ProbeID(id)
	}
	at, err := f(t, ids...)
	return &wire.MomentReply{Time: at}, err
}

// Forget implements wire.ArbiterServer.
func (s tracing) Forget(ctx context.Context, r *wire.ProbeRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Release(event.ProbeID(r.Probe)) })
}

// Hits implements wire.ArbiterServer.
func (s tracing) Hits(ctx context.Context, r *wire.ProbeRequest) (*wire.HitsReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	return &wire.HitsReply{Hits: t.Hits(event.ProbeID(r.Probe))}, nil
}

// placesInMessage is how many places one message holds.
const placesInMessage = 1000

// Placements implements wire.ArbiterServer.
func (s tracing) Placements(r *wire.ProbeRequest, out grpc.ServerStreamingServer[wire.PlacementsReply]) error {
	t, err := s.tracer(out.Context(), r.Token)
	if err != nil {
		return err
	}
	list := t.Placements(event.ProbeID(r.Probe))
	for len(list) > 0 {
		n := min(len(list), placesInMessage)
		reply := &wire.PlacementsReply{}
		for i := range list[:n] {
			reply.Placements = append(reply.Placements, wire.FromPlacement(&list[i]))
		}
		if err := out.Send(reply); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// Symbolize implements wire.ArbiterServer.
func (s tracing) Symbolize(ctx context.Context, r *wire.SymbolizeRequest) (*wire.SymbolizeReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	y, ok := t.Symbolize(int(r.Pid), arch.Addr(r.Addr))
	return &wire.SymbolizeReply{Known: ok, Binary: []byte(y.Binary), Path: []byte(y.Path), BuildId: y.BuildID, Function: []byte(y.Function),
		Offset: uint64(y.Offset), Start: uint64(y.Start), End: uint64(y.End), FileOffset: y.FileOffset}, nil
}
