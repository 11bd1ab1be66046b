// Package server lets tracers of other processes share sessions: it serves the
// protocol of package wire at a Unix socket, with an arbiter behind it.
//
// Who asks is known by the socket, and each request is answered with what ptrace
// would let that user do (engine.MayTrace), not with what we may. A tracer lives
// as long as the call that made it: a client that dies, hangs up or does not
// answer for 20 s (HTTP/2 pings) is gone, and its tracer with it.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/handler"
)

// Options of a server.
type Options struct {
	arbiter.Options
	Version string
	Idle    time.Duration // it ends when there was no tracer for so long; 0: never
}

// Server serves one socket.
type Server struct {
	wire.UnimplementedArbiterServer
	opts    Options
	arbiter *arbiter.Arbiter
	grpc    *grpc.Server
	names   *handler.Registry

	mu      sync.Mutex
	tracers map[string]*tracer
	idle    *time.Timer
}

// tracer is one of a client's.
type tracer struct {
	*arbiter.Tracer
	peer     engine.Peer
	mu       sync.Mutex
	handlers []engine.Handler // by number-1; nil once closed
}

// New makes a server that serves nothing yet.
func New(o Options) *Server {
	s := &Server{opts: o, arbiter: arbiter.New(o.Options), names: handler.New(), tracers: map[string]*tracer{}}
	s.grpc = grpc.NewServer(
		grpc.Creds(known{insecure.NewCredentials()}),
		grpc.MaxRecvMsgSize(wire.MaxMessage),
		grpc.MaxConcurrentStreams(64),
		grpc.ConnectionTimeout(greeting),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
			defer shield(&err)
			answer, err := next(ctx, req)
			return answer, wire.ToStatus(err)
		}),
		grpc.StreamInterceptor(func(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
			defer shield(&err)
			return wire.ToStatus(next(srv, st))
		}),
	)
	wire.RegisterArbiterServer(s.grpc, s)
	return s
}

// shield makes an answer of a bug that a request has found: the others' tracers
// go on.
func shield(err *error) {
	if x := recover(); x != nil {
		fmt.Fprintf(os.Stderr, "ptracer: bug: %v\n%s", x, debug.Stack())
		*err = wire.ToStatus(fmt.Errorf("a bug in ptracer: %v", x))
	}
}

// Serve answers at a socket until Close, or until there is nothing to do for too
// long. All processes are let go then.
func (s *Server) Serve(l *net.UnixListener) error {
	s.mu.Lock()
	if s.opts.Idle > 0 {
		s.idle = time.AfterFunc(s.opts.Idle, s.endIdle)
	}
	s.mu.Unlock()
	err := s.grpc.Serve(newDoor(l, s.sendMaps))
	if errors.Is(err, grpc.ErrServerStopped) {
		err = nil
	}
	return errors.Join(err, s.arbiter.Close())
}

// Close ends all tracers and lets their processes go.
func (s *Server) Close() error {
	err := s.arbiter.Close()
	s.grpc.Stop()
	return err
}

// endIdle ends a server that nobody uses.
func (s *Server) endIdle() {
	s.mu.Lock()
	used := len(s.tracers) > 0
	s.mu.Unlock()
	if !used {
		_ = s.Close()
	}
}

// enter makes a tracer known under a name that nobody can guess.
func (s *Server) enter(t *tracer) (token string) {
	token = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracers[token] = t
	if s.idle != nil {
		s.idle.Stop()
	}
	return token
}

// leave ends a tracer.
func (s *Server) leave(token string) {
	s.mu.Lock()
	t := s.tracers[token]
	delete(s.tracers, token)
	if s.idle != nil && len(s.tracers) == 0 {
		s.idle.Reset(s.opts.Idle)
	}
	s.mu.Unlock()
	_ = t.Detach()
	for _, h := range t.handlers {
		if h != nil {
			_ = h.Close()
		}
	}
}

// find is the tracer of a token, for the user who has made it.
func (s *Server) find(p engine.Peer, token string) (*tracer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracers[token]
	if t == nil || t.peer.UID != p.UID {
		return nil, wire.ErrToken
	}
	return t, nil
}

// asks is who asks.
func asks(ctx context.Context) (engine.Peer, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return engine.Peer{}, wire.ErrPeer
	}
	info, ok := p.AuthInfo.(authInfo)
	if !ok {
		return engine.Peer{}, wire.ErrPeer
	}
	return info.peer, nil
}

// tracer is the one that a request is made for.
func (s *Server) tracer(ctx context.Context, token string) (*tracer, error) {
	p, err := asks(ctx)
	if err != nil {
		return nil, err
	}
	return s.find(p, token)
}

// Hello implements wire.ArbiterServer.
func (s *Server) Hello(context.Context, *wire.HelloRequest) (*wire.HelloReply, error) {
	return &wire.HelloReply{Version: s.opts.Version, Protocol: wire.Protocol, Pid: int32(os.Getpid())}, nil
}

// Tracers implements wire.ArbiterServer.
func (s *Server) Tracers(ctx context.Context, r *wire.TracersRequest) (*wire.TracersReply, error) {
	p, err := asks(ctx)
	if err != nil {
		return nil, err
	}
	reply := &wire.TracersReply{}
	for _, i := range s.arbiter.Tracers(int(r.Pid)) {
		if i.UID == p.UID || p.Root || mayAny(p, i.Processes) {
			reply.Tracers = append(reply.Tracers, wire.FromTracer(&i))
		}
	}
	return reply, nil
}

func mayAny(p engine.Peer, pids []int) bool {
	for _, pid := range pids {
		if engine.MayTrace(p, pid) == nil {
			return true
		}
	}
	return false
}

// batch is how many events go into one message.
const batch = 512

// Join implements wire.ArbiterServer.
func (s *Server) Join(r *wire.JoinRequest, out grpc.ServerStreamingServer[wire.Told]) error {
	p, err := asks(out.Context())
	if err != nil {
		return err
	}
	if r.Buffer < 0 || r.Buffer > 1<<20 || len(r.Name) > 200 {
		return fmt.Errorf("%w: a buffer of %d events, a name of %d bytes", wire.ErrMessage, r.Buffer, len(r.Name))
	}
	id := arbiter.Identity{Name: r.Name, PID: p.PID, UID: p.UID, GIDs: p.GIDs, Allow: func(pid int) error { return engine.MayTrace(p, pid) }}
	at, err := s.arbiter.Join(int(r.Pid), id, engine.Options{Follow: r.Follow, Signals: r.Signals, Life: r.Life, Buffer: int(r.Buffer), Handlers: s.names})
	if err != nil {
		return err
	}
	t := &tracer{Tracer: at, peer: p}
	token := s.enter(t)
	defer s.leave(token)
	joined := &wire.Joined{Token: token, Id: int32(at.Info().ID), Isa: at.ISA().Name(), Registers: at.ISA().RegNames()}
	for _, o := range at.Others() {
		joined.Others = append(joined.Others, wire.FromTracer(&o))
	}
	if err := out.Send(&wire.Told{Joined: joined}); err != nil {
		return err
	}
	if err := t.stream(out); err != nil {
		return err
	}
	<-out.Context().Done() // what was found out can be read until then
	return nil
}

// stream sends a tracer's events until its end.
func (t *tracer) stream(out grpc.ServerStreamingServer[wire.Told]) error {
	for {
		e, err := t.Poll(out.Context())
		if errors.Is(err, engine.ErrEnded) {
			return out.Send(&wire.Told{Ended: true})
		}
		if err != nil {
			return err
		}
		told := &wire.Told{Events: []*wire.Event{wire.FromEvent(&e)}}
		for len(told.Events) < batch {
			e, ok := t.Next()
			if !ok {
				break
			}
			told.Events = append(told.Events, wire.FromEvent(&e))
		}
		if err := out.Send(told); err != nil {
			return err
		}
	}
}
