package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/program"
)

var empty = &wire.Empty{}

// answer runs a request of a tracer that is answered by nothing but an error.
func (s *Server) answer(ctx context.Context, token string, f func(*tracer) error) (*wire.Empty, error) {
	t, err := s.tracer(ctx, token)
	if err == nil {
		err = f(t)
	}
	return empty, err
}

// Detach implements wire.ArbiterServer.
func (s *Server) Detach(ctx context.Context, r *wire.TracerRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Detach() })
}

// AddProcess implements wire.ArbiterServer.
func (s *Server) AddProcess(ctx context.Context, r *wire.ProcessRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.AddProcess(int(r.Pid)) })
}

// RemoveProcess implements wire.ArbiterServer.
func (s *Server) RemoveProcess(ctx context.Context, r *wire.ProcessRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.RemoveProcess(int(r.Pid)) })
}

// Interrupt implements wire.ArbiterServer.
func (s *Server) Interrupt(ctx context.Context, r *wire.ProcessRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Interrupt(int(r.Pid)) })
}

// Resume implements wire.ArbiterServer.
func (s *Server) Resume(ctx context.Context, r *wire.TaskRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Resume(int(r.Id)) })
}

// Control implements wire.ArbiterServer.
func (s *Server) Control(ctx context.Context, r *wire.ControlRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Control(int(r.Pid), time.Duration(r.Time), r.Force) })
}

// Yield implements wire.ArbiterServer.
func (s *Server) Yield(ctx context.Context, r *wire.ProcessRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { t.Yield(int(r.Pid)); return nil })
}

// Unregister implements wire.ArbiterServer.
func (s *Server) Unregister(ctx context.Context, r *wire.ProbeRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Unregister(event.ProbeID(r.Probe)) })
}

// WriteMemory implements wire.ArbiterServer.
func (s *Server) WriteMemory(ctx context.Context, r *wire.WriteMemoryRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.WriteMemory(int(r.Pid), arch.Addr(r.Addr), r.Data) })
}

// SetRegisters implements wire.ArbiterServer.
func (s *Server) SetRegisters(ctx context.Context, r *wire.SetRegistersRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error {
		var regs arch.Regs
		if n := t.ISA().NumRegs(); len(r.Values) != n {
			return fmt.Errorf("%w: %d registers, there are %d", wire.ErrMessage, len(r.Values), n)
		}
		copy(regs[:], r.Values)
		return t.SetRegisters(int(r.Tid), regs)
	})
}

// Processes implements wire.ArbiterServer.
func (s *Server) Processes(ctx context.Context, r *wire.TracerRequest) (*wire.ProcessesReply, error) {
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
func (s *Server) Exit(ctx context.Context, r *wire.ProcessRequest) (*wire.ExitReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	e, ok := t.Exit(int(r.Pid))
	return &wire.ExitReply{Known: ok, Status: int32(e.Status), Signal: int32(e.Signal)}, nil
}

// Stats implements wire.ArbiterServer.
func (s *Server) Stats(ctx context.Context, r *wire.TracerRequest) (*wire.StatsReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	st := t.Stats()
	return &wire.StatsReply{Stops: st.Stops, Hits: st.Hits, Missed: st.Missed, Pause: int64(st.Pause)}, nil
}

// Register implements wire.ArbiterServer.
func (s *Server) Register(ctx context.Context, r *wire.RegisterRequest) (*wire.RegisterReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	spec, err := wire.ToSpec(r)
	if err != nil {
		return nil, err
	}
	if r.Handler != 0 {
		if spec.Handler, err = t.handler(r.Handler); err != nil {
			return nil, err
		}
	}
	id, err := t.Register(spec)
	return &wire.RegisterReply{Probe: int32(id)}, err
}

// Hits implements wire.ArbiterServer.
func (s *Server) Hits(ctx context.Context, r *wire.ProbeRequest) (*wire.HitsReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	return &wire.HitsReply{Hits: t.Hits(event.ProbeID(r.Probe))}, nil
}

// Placements implements wire.ArbiterServer.
func (s *Server) Placements(r *wire.ProbeRequest, out grpc.ServerStreamingServer[wire.PlacementsReply]) error {
	t, err := s.tracer(out.Context(), r.Token)
	if err != nil {
		return err
	}
	list := t.Placements(event.ProbeID(r.Probe))
	for len(list) > 0 {
		n := min(len(list), 1000)
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

// Tasks implements wire.ArbiterServer.
func (s *Server) Tasks(ctx context.Context, r *wire.ProcessRequest) (*wire.TasksReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	tasks, err := t.Tasks(int(r.Pid))
	reply := &wire.TasksReply{}
	for _, x := range tasks {
		reply.Tasks = append(reply.Tasks, &wire.Task{Tid: int32(x.TID), Name: x.Name, Stopped: x.Stopped, Pc: uint64(x.PC)})
	}
	return reply, err
}

// Registers implements wire.ArbiterServer.
func (s *Server) Registers(ctx context.Context, r *wire.TaskRequest) (*wire.RegistersReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	regs, err := t.Registers(int(r.Id))
	return &wire.RegistersReply{Values: regs[:t.ISA().NumRegs()]}, err
}

// maxRead is the most memory that is read at once.
const maxRead = 1 << 20

// ReadMemory implements wire.ArbiterServer.
func (s *Server) ReadMemory(ctx context.Context, r *wire.ReadMemoryRequest) (*wire.ReadMemoryReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	if r.Length < 0 || r.Length > maxRead {
		return nil, fmt.Errorf("%w: %d bytes: up to %d are read at once", wire.ErrMessage, r.Length, maxRead)
	}
	b := make([]byte, r.Length)
	err = t.ReadMemory(int(r.Pid), arch.Addr(r.Addr), b)
	return &wire.ReadMemoryReply{Data: b}, err
}

// Symbolize implements wire.ArbiterServer.
func (s *Server) Symbolize(ctx context.Context, r *wire.SymbolizeRequest) (*wire.SymbolizeReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	y, ok := t.Symbolize(int(r.Pid), arch.Addr(r.Addr))
	return &wire.SymbolizeReply{Known: ok, Binary: y.Binary, Path: y.Path, BuildId: y.BuildID, Function: y.Function,
		Offset: uint64(y.Offset), Start: uint64(y.Start), End: uint64(y.End), FileOffset: y.FileOffset}, nil
}

// handler is one that the tracer has opened.
func (t *tracer) handler(n int32) (engine.Handler, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < 1 || int(n) > len(t.handlers) || t.handlers[n-1] == nil {
		return nil, fmt.Errorf("%d: %w", n, handler.ErrNotFound)
	}
	return t.handlers[n-1], nil
}

// rights are those of who may trace a process: all.
const rights = program.ReadMemory | program.WriteMemory | program.Override

// OpenHandler implements wire.ArbiterServer.
func (s *Server) OpenHandler(ctx context.Context, r *wire.OpenHandlerRequest) (*wire.OpenHandlerReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	spec := engine.HandlerSpec{Name: r.Name, By: &handler.Peer{UID: t.peer.UID, GIDs: append(t.peer.GIDs, t.peer.GID), Rights: rights}}
	if len(r.Params) > 0 {
		if err := json.Unmarshal(r.Params, &spec.Params); err != nil {
			return nil, fmt.Errorf("%w: params: %w", wire.ErrMessage, err)
		}
	}
	if r.Entry != nil || r.Exit != nil {
		if spec.Handler, err = wire.ToHandler(r.Entry, r.Exit, r.Context); err != nil {
			return nil, err
		}
	}
	if r.Share != 0 {
		if spec.Share, err = t.handler(r.Share); err != nil {
			return nil, err
		}
	}
	h, err := t.open(spec, r.Where)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.handlers = append(t.handlers, h)
	n := len(t.handlers)
	t.mu.Unlock()
	i := h.Info()
	reply := &wire.OpenHandlerReply{Handler: int32(n), Name: i.Name, Version: int32(i.Version), Where: i.Where.String(), Why: i.Why, Steps: int32(i.Steps), Records: i.Records}
	if sh, ok := h.(engine.SharedHandler); ok {
		if reply.Params, err = json.Marshal(sh.Params()); err != nil {
			return nil, err
		}
	}
	return reply, nil
}

// open opens a handler in the program or in the engine. Those in the kernel would
// be loaded with our rights.
func (t *tracer) open(spec engine.HandlerSpec, where string) (engine.Handler, error) {
	var err error
	if spec.Where, err = handler.ParseWhere(where); err != nil && where != "" {
		return nil, fmt.Errorf("%w: %w", wire.ErrMessage, err)
	}
	switch spec.Where {
	case handler.Kernel:
		return nil, fmt.Errorf("%w: handlers in the kernel: trace the process directly (--direct)", handler.ErrUnsupported)
	case handler.Auto:
		spec.Where = handler.Tracee
		if h, err := t.OpenHandler(spec); err == nil {
			return h, nil
		}
		spec.Where = handler.Engine
	}
	return t.OpenHandler(spec)
}

// CloseHandler implements wire.ArbiterServer.
func (s *Server) CloseHandler(ctx context.Context, r *wire.HandlerRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error {
		h, err := t.handler(r.Handler)
		if err != nil {
			return err
		}
		t.mu.Lock()
		t.handlers[r.Handler-1] = nil
		t.mu.Unlock()
		return h.Close()
	})
}

// HandlerState implements wire.ArbiterServer.
func (s *Server) HandlerState(ctx context.Context, r *wire.HandlerRequest) (*wire.HandlerStateReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	h, err := t.handler(r.Handler)
	if err != nil {
		return nil, err
	}
	return &wire.HandlerStateReply{Failures: h.Info().Failures}, nil
}

// TakeRecords implements wire.ArbiterServer.
func (s *Server) TakeRecords(ctx context.Context, r *wire.TakeRecordsRequest) (*wire.TakeRecordsReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	h, err := t.handler(r.Handler)
	if err != nil {
		return nil, err
	}
	sh, ok := h.(engine.SharedHandler)
	if !ok {
		return nil, os.ErrClosed
	}
	t.mu.Lock() // one reader at a time
	defer t.mu.Unlock()
	pos, err := sh.Take(r.Position)
	return &wire.TakeRecordsReply{Position: pos}, err
}

// sendMaps sends the file of a handler's maps, open for reading, to who has asked
// for it by "TOKEN HANDLER". Who may not have it gets nothing.
func (s *Server) sendMaps(p engine.Peer, c *net.UnixConn, request string) {
	token, number, _ := strings.Cut(request, " ")
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return
	}
	t, err := s.find(p, token)
	if err != nil {
		return
	}
	h, err := t.handler(int32(n))
	if err != nil {
		return
	}
	sh, ok := h.(engine.SharedHandler)
	if !ok {
		return
	}
	f, err := sh.File()
	if err != nil {
		return
	}
	readable, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return
	}
	defer readable.Close()
	_ = c.SetWriteDeadline(time.Now().Add(greeting))
	_, _, _ = c.WriteMsgUnix([]byte{0}, fdRights(readable), nil)
}
