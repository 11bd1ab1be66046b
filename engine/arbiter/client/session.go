package client

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/failure"
)

// Session is a tracer at a server. It lasts until Close, so that results can be read after Detach.
type Session struct {
	*event.Queue
	*link
	token  string
	id     int
	isa    arch.ISA
	others []arbiter.TracerInfo
	cancel context.CancelFunc
	done   chan struct{}
	gone   atomic.Bool // the server is ending, or has ended
	lost   atomic.Bool // it has ended without notice

	registering sync.RWMutex // held while a probe's number is not known yet
	mu          sync.Mutex
	funcs       map[event.ProbeID]func(engine.Hit)
	calls       chan *hit // their hits
}

var _ engine.Session = (*Session)(nil)

// join makes a tracer and waits until it is one, unless ctx is done first.
func join(ctx context.Context, l *link, pid int, name string, o engine.Options) (*Session, error) {
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	stream, err := l.api.Join(life, &wire.JoinRequest{Pid: wire.Narrow(pid), Name: strings.ToValidUTF8(name, "?"), Follow: o.Follow, Signals: o.Signals, Life: o.Life, Buffer: wire.Narrow(o.Buffer)})
	var told *wire.Told
	if err == nil {
		told, err = stream.Recv()
	}
	if err == nil && told.Joined == nil {
		err = io.ErrUnexpectedEOF
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, wire.FromStatus(err)
	}
	s := &Session{Queue: event.NewQueue(o.Buffer), link: l, token: told.Joined.Token, id: int(told.Joined.Id), isa: isaOf(told.Joined.Isa), cancel: cancel,
		done: make(chan struct{}), funcs: map[event.ProbeID]func(engine.Hit){}, calls: make(chan *hit, 256)}
	for _, m := range told.Joined.Others {
		s.others = append(s.others, wire.ToTracer(m))
	}
	go s.receive(stream)
	go s.serve()
	return s, nil
}

func isaOf(name string) arch.ISA {
	for _, m := range []elf.Machine{elf.EM_X86_64, elf.EM_AARCH64} {
		if isa, err := engine.ISAFor(m); err == nil && isa.Name() == name {
			return isa
		}
	}
	return nil
}

// Sharing describes the other tracers of a process.
func (s *Session) Sharing(pid int) (list []arbiter.TracerInfo, err error) {
	reply, err := call(s.api.Tracers, &wire.TracersRequest{Pid: wire.Narrow(pid)})
	for _, m := range reply.GetTracers() {
		if int(m.Id) != s.id {
			list = append(list, wire.ToTracer(m))
		}
	}
	return list, err
}

// Others describes the tracers that shared the process when this one joined.
func (s *Session) Others() []arbiter.TracerInfo { return s.others }

// receive receives the server's messages, until the end.
func (s *Session) receive(stream grpc.ServerStreamingClient[wire.Told]) {
	defer func() {
		close(s.calls)
		s.End()
		close(s.done)
	}()
	for {
		told, err := stream.Recv()
		if err != nil {
			if err = wire.FromStatus(err); !errors.Is(err, context.Canceled) {
				s.gone.Store(true)
				s.lost.Store(errors.Is(err, wire.ErrServer))
				s.Put(warning(0, 0, err.Error()), true)
			}
			return
		}
		for _, m := range told.Events {
			s.take(wire.ToEvent(m))
		}
		if told.Why != "" {
			s.gone.Store(true)
			s.Put(warning(0, 0, told.Why), true)
		}
		if told.Ended {
			return
		}
	}
}

// warning returns a warning of the client's own.
func warning(pid, tid int, text string) *event.Event {
	return &event.Event{Time: engine.Now(), PID: pid, TID: tid, Body: &event.Warning{Text: text}}
}

// take passes an event to its receiver.
func (s *Session) take(e event.Event) {
	if b, ok := e.Body.(*event.Stopped); ok && b.Probe != 0 && s.function(b.Probe) != nil {
		s.calls <- &hit{s: s, e: e, at: &b.Hit}
		return
	}
	s.Put(&e, e.Kind() != event.KindHit)
}

// function returns the Func of a probe, or nil.
func (s *Session) function(id event.ProbeID) func(engine.Hit) {
	s.registering.RLock()
	defer s.registering.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.funcs[id]
}

// serve runs the Funcs for hits, one at a time.
func (s *Session) serve() {
	for h := range s.calls {
		s.function(h.at.Probe)(h)
		if h.stay {
			s.Put(&h.e, true)
			continue
		}
		_ = s.Resume(h.e.TID)
	}
}

// Err returns ErrServer if results are lost, in whole or in part. The session has then ended
// because of the server, not because its processes have ended or by Detach.
func (s *Session) Err() error {
	if s.lost.Load() {
		return wire.ErrServer
	}
	return nil
}

// Socket is the path of the server's socket.
func (s *Session) Socket() string { return s.info.Socket }

// Close ends the connection. No request is possible afterwards.
func (s *Session) Close() error {
	s.cancel()
	<-s.done
	return s.conn.Close()
}

// call makes a request to the server.
func call[Q, A any](f func(context.Context, Q, ...grpc.CallOption) (A, error), request Q) (A, error) {
	answer, err := f(context.Background(), request)
	return answer, wire.FromStatus(err)
}

// AddProcess implements engine.Session.
func (s *Session) AddProcess(pid int) error {
	if err := known(pid); err != nil {
		return err
	}
	_, err := call(s.api.AddProcess, s.process(pid))
	return err
}

// RemoveProcess implements engine.Session.
func (s *Session) RemoveProcess(pid int) error {
	_, err := call(s.api.RemoveProcess, s.process(pid))
	return err
}

// known returns an error for a process number that does not fit into a message, so that it is not
// taken for another process's.
func known(pid int) error {
	if int(wire.Narrow(pid)) != pid {
		return &engine.AttachError{PID: pid, Reason: engine.ErrGone, Detail: "no such process"}
	}
	return nil
}

func (s *Session) process(pid int) *wire.ProcessRequest {
	return &wire.ProcessRequest{Token: s.token, Pid: wire.Narrow(pid)}
}

func (s *Session) task(id int) *wire.TaskRequest {
	return &wire.TaskRequest{Token: s.token, Id: wire.Narrow(id)}
}

func (s *Session) probe(id event.ProbeID) *wire.ProbeRequest {
	return &wire.ProbeRequest{Token: s.token, Probe: wire.Narrow(int(id))}
}

// Register implements engine.Session.
func (s *Session) Register(spec engine.ProbeSpec) (event.ProbeID, error) {
	if spec.Action == engine.ActionCall && spec.Func == nil {
		return 0, errors.New("a probe with ActionCall has no Func")
	}
	if known(spec.PID) != nil {
		return 0, fmt.Errorf("%s: process %d: %w", spec.Location, spec.PID, engine.ErrNoProcess)
	}
	r := wire.FromSpec(&spec)
	r.Token = s.token
	if spec.Handler != nil {
		h, ok := spec.Handler.(*handle)
		if !ok || h.s != s {
			return 0, fmt.Errorf("%s: %w: it is another session's", spec.Location, engine.ErrHandler)
		}
		r.Handler = h.number
	}
	if spec.Action != engine.ActionCall {
		reply, err := call(s.api.Register, r)
		return event.ProbeID(reply.GetProbe()), err
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	reply, err := call(s.api.Register, r)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.funcs[event.ProbeID(reply.Probe)] = spec.Func
	return event.ProbeID(reply.Probe), nil
}

// Unregister implements engine.Session.
func (s *Session) Unregister(id event.ProbeID) error {
	_, err := call(s.api.Unregister, s.probe(id))
	return err
}

// Begin implements engine.Session.
func (s *Session) Begin(ids ...event.ProbeID) (int64, error) {
	reply, err := call(s.api.Begin, s.probes(ids))
	return reply.GetTime(), err
}

// Finish implements engine.Session.
func (s *Session) Finish(ids ...event.ProbeID) (int64, error) {
	reply, err := call(s.api.Finish, s.probes(ids))
	return reply.GetTime(), err
}

func (s *Session) probes(ids []event.ProbeID) *wire.ProbesRequest {
	r := &wire.ProbesRequest{Token: s.token}
	for _, id := range ids {
		r.Probes = append(r.Probes, wire.Narrow(int(id)))
	}
	return r
}

// Release implements engine.Session.
func (s *Session) Release(id event.ProbeID) error {
	_, err := call(s.api.Forget, s.probe(id))
	return err
}

// Hits implements engine.Session.
func (s *Session) Hits(id event.ProbeID) uint64 {
	reply, err := call(s.api.Hits, s.probe(id))
	s.notice(err)
	return reply.GetHits()
}

// notice records that results can't be had any more, for requests that return no error. A server
// that ends answers for a moment only, and the next one at the socket does not know the token.
func (s *Session) notice(err error) {
	if errors.Is(err, wire.ErrServer) || errors.Is(err, wire.ErrToken) || errors.Is(err, arbiter.ErrClosed) {
		s.lost.Store(true)
	}
}

// Placements implements engine.Session.
func (s *Session) Placements(id event.ProbeID) (all []engine.Placement) {
	stream, err := s.api.Placements(context.Background(), s.probe(id))
	for err == nil {
		var reply *wire.PlacementsReply
		if reply, err = stream.Recv(); err == nil {
			for _, m := range reply.Placements {
				all = append(all, wire.ToPlacement(m))
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		s.notice(wire.FromStatus(err))
	}
	return all
}

// Symbolize implements engine.Session.
func (s *Session) Symbolize(pid int, addr arch.Addr) (engine.Symbol, bool) {
	r, _ := call(s.api.Symbolize, &wire.SymbolizeRequest{Token: s.token, Pid: wire.Narrow(pid), Addr: uint64(addr)})
	return engine.Symbol{Binary: string(r.GetBinary()), Path: string(r.GetPath()), BuildID: r.GetBuildId(), Function: string(r.GetFunction()), Offset: arch.Addr(r.GetOffset()),
		Start: arch.Addr(r.GetStart()), End: arch.Addr(r.GetEnd()), FileOffset: r.GetFileOffset()}, r.GetKnown()
}

// Interrupt implements engine.Session.
func (s *Session) Interrupt(pid int) error {
	_, err := call(s.api.Interrupt, s.process(pid))
	return err
}

// InterruptTask implements engine.Session.
func (s *Session) InterruptTask(tid int) error {
	_, err := call(s.api.InterruptTask, s.task(tid))
	return err
}

// Resume implements engine.Session.
func (s *Session) Resume(id int) error {
	_, err := call(s.api.Resume, s.task(id))
	return err
}

// ResumeTask implements engine.Session.
func (s *Session) ResumeTask(tid int) error {
	_, err := call(s.api.ResumeTask, s.task(tid))
	return err
}

// Step implements engine.Session.
func (s *Session) Step(tid int) error {
	_, err := call(s.api.Step, s.task(tid))
	return err
}

// Signal implements engine.Session.
func (s *Session) Signal(id, signal int) error {
	_, err := call(s.api.Signal, &wire.SignalRequest{Token: s.token, Id: wire.Narrow(id), Signal: wire.Narrow(signal)})
	return err
}

// DropSignal implements engine.Session.
func (s *Session) DropSignal(tid int) error {
	_, err := call(s.api.DropSignal, s.task(tid))
	return err
}

// StepAside implements engine.Session.
func (s *Session) StepAside(pid int, wait time.Duration, opts ...engine.AsideOptions) error {
	r := &wire.StepAsideRequest{Token: s.token, Pid: wire.Narrow(pid), Wait: int64(wait)}
	for _, o := range opts {
		r.KeepJumps = o.KeepJumps
	}
	_, err := call(s.api.StepAside, r)
	return err
}

// Follow implements engine.Session. It fails: whether a tracer at a server follows children is
// fixed when it joins.
func (s *Session) Follow(int, bool) error {
	return &failure.Unsupported{What: "to follow a process's children, by a server, for a tracer that is there", Needs: "Options.Follow when it attaches"}
}

// Tasks implements engine.Session.
func (s *Session) Tasks(pid int) (list []engine.Task, err error) {
	reply, err := call(s.api.Tasks, s.process(pid))
	for _, m := range reply.GetTasks() {
		list = append(list, wire.ToTask(m))
	}
	return list, err
}

// Registers implements engine.Session.
func (s *Session) Registers(tid int) (r arch.Regs, err error) {
	reply, err := call(s.api.Registers, s.task(tid))
	copy(r[:], reply.GetValues())
	return r, err
}

// SetRegisters implements engine.Session.
func (s *Session) SetRegisters(tid int, r arch.Regs) error {
	_, err := call(s.api.SetRegisters, &wire.SetRegistersRequest{Token: s.token, Tid: wire.Narrow(tid), Values: r[:s.isa.NumRegs()]})
	return err
}

// pieces is how much memory one request reads or writes, in bytes.
const pieces = 256 << 10

// ReadMemory implements engine.Session.
func (s *Session) ReadMemory(pid int, addr arch.Addr, buf []byte) error {
	for len(buf) > 0 {
		n := min(len(buf), pieces)
		reply, err := call(s.api.ReadMemory, &wire.ReadMemoryRequest{Token: s.token, Pid: wire.Narrow(pid), Addr: uint64(addr), Length: int32(n)})
		if err != nil {
			return err
		}
		if copy(buf, reply.Data) < n {
			return io.ErrUnexpectedEOF
		}
		buf, addr = buf[n:], addr+arch.Addr(n)
	}
	return nil
}

// WriteMemory implements engine.Session.
func (s *Session) WriteMemory(pid int, addr arch.Addr, data []byte) error {
	for len(data) > 0 {
		n := min(len(data), pieces)
		if _, err := call(s.api.WriteMemory, &wire.WriteMemoryRequest{Token: s.token, Pid: wire.Narrow(pid), Addr: uint64(addr), Data: data[:n]}); err != nil {
			return err
		}
		data, addr = data[n:], addr+arch.Addr(n)
	}
	return nil
}

// Control makes this tracer the only one that may write to the process, for a limited time; see
// arbiter.Tracer.
func (s *Session) Control(ctx context.Context, pid int, ask arbiter.Ask) error {
	_, err := s.api.Control(ctx, &wire.ControlRequest{Token: s.token, Pid: wire.Narrow(pid), Time: int64(ask.Time), Wait: int64(ask.Wait), Force: ask.Force})
	return wire.FromStatus(err)
}

// Yield gives up control.
func (s *Session) Yield(pid int) error {
	_, err := call(s.api.Yield, s.process(pid))
	return err
}

// ISA implements engine.Session.
func (s *Session) ISA() arch.ISA { return s.isa }

// Processes implements engine.Session.
func (s *Session) Processes() (pids []int) {
	reply, _ := call(s.api.Processes, &wire.TracerRequest{Token: s.token})
	for _, pid := range reply.GetPids() {
		pids = append(pids, int(pid))
	}
	return pids
}

// Done implements engine.Session.
func (s *Session) Done() <-chan struct{} { return s.done }

// Exit implements engine.Session.
func (s *Session) Exit(pid int) (engine.Exit, bool) {
	reply, err := call(s.api.Exit, s.process(pid))
	s.notice(err)
	return engine.Exit{Status: int(reply.GetStatus()), Signal: int(reply.GetSignal())}, reply.GetKnown()
}

// Stats implements engine.Session.
func (s *Session) Stats() engine.Stats {
	r, err := call(s.api.Stats, &wire.TracerRequest{Token: s.token})
	s.notice(err)
	return engine.Stats{Stops: r.GetStops(), Hits: r.GetHits(), Missed: r.GetMissed() + s.Total(), Pause: time.Duration(r.GetPause()), Uncounted: r.GetUncounted()}
}

// Leave implements engine.Session. It fails: a tracer at a server can't leave probes behind.
func (s *Session) Leave() error {
	return &failure.Unsupported{What: "resident probes, by a server", Needs: direct}
}

// Detach implements engine.Session.
func (s *Session) Detach() error {
	_, err := call(s.api.Detach, &wire.TracerRequest{Token: s.token})
	<-s.done
	if s.gone.Load() { // Err reports this
		return nil
	}
	return err
}

// Kill implements engine.Session. A server starts no processes, so Kill is Detach. To end a traced
// process, the caller sends it a Signal.
func (s *Session) Kill() error { return s.Detach() }
