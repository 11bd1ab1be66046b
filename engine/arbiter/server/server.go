// Package server lets tracers of other processes share sessions: it serves the
// protocol of package wire at a Unix socket, with an arbiter behind it.
//
// The socket identifies the peer. A Server acts with the rights of its process, for
// that process's user and for root. A Front serves all users: it has a Server for each, in a
// process of that user's (RunWorker). Each request is allowed only if ptrace would allow it to the
// peer itself (access.MayTrace). A tracer lives as long as the call that made it: if a client dies,
// hangs up or does not answer for some time (HTTP/2 pings), its tracer ends.
//
// Each client gets its events on a goroutine of its own, from a bounded queue: a client that does
// not read loses events, and delays no other client.
package server

import (
	"cmp"
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

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/printable"
)

// Options configures a server.
type Options struct {
	arbiter.Options
	Version string
	Idle    time.Duration // the server ends after so long without a tracer; 0: never
	Hang    time.Duration // a client that does not answer for so long has hung; 0: 20 s, at least 2 s
	Limits  Limits
	worker  string             // in a worker of a front: its name
	names   wire.ArbiterClient // the registry of handlers by name; nil: the server's own
}

// Server serves one socket.
type Server struct {
	opts    Options
	arbiter *arbiter.Arbiter
	grpc    *grpc.Server
	names   *handler.Registry
	limits  *limits
	since   time.Time
	ending  chan struct{} // closed when Close begins
	ended   chan struct{} // closed when Close is done
	end     sync.Once
	err     error // of the end

	mu      sync.Mutex
	tracers map[string]*tracer
	idle    *time.Timer
	users   int  // clients that are, or are about to become, tracers
	idled   bool // it ends because it was idle
	door    *door
}

// tracer is a tracer of a client's.
type tracer struct {
	*arbiter.Tracer
	peer     access.Peer
	id       int
	mu       sync.Mutex
	handlers []*opened // by number-1; nil once closed
}

// New makes a server that does not serve yet.
func New(o Options) *Server {
	s := &Server{opts: o, arbiter: arbiter.New(o.Options), names: handler.New(), limits: newLimits(o.Limits), since: time.Now(),
		ending: make(chan struct{}), ended: make(chan struct{}), tracers: map[string]*tracer{}}
	half := cmp.Or(o.Hang, 20*time.Second) / 2
	s.grpc = grpc.NewServer(
		grpc.Creds(known{insecure.NewCredentials()}),
		grpc.InTapHandle(s.limits.tap),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(64),
		grpc.ConnectionTimeout(greeting),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: half, Timeout: half}),
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
	wire.RegisterArbiterServer(s.grpc, service{joining: joining{s}, tracing: tracing{s}, steering: steering{s}, handling: handling{s}, registry: registry{s}})
	return s
}

// shield turns a panic in a request into an error, so that the tracers of other clients continue.
func shield(err *error) {
	if x := recover(); x != nil {
		_ = printable.Printf(os.Stderr, "ptracer: bug: %v", x)
		_, _ = os.Stderr.Write(debug.Stack())
		*err = wire.ToStatus(fmt.Errorf("a bug in ptracer: %v", x))
	}
}

// Serve serves a socket until Close, or until the server has been idle for too long. Then it
// detaches from all processes.
func (s *Server) Serve(l *net.UnixListener) error { return s.serve(socket{l}) }

func (s *Server) serve(from source) error {
	s.mu.Lock()
	if s.opts.Idle > 0 {
		s.idle = time.AfterFunc(s.opts.Idle, s.endIdle)
	}
	s.door = newDoor(from, s.limits, s.sendMaps)
	s.mu.Unlock()
	err := s.grpc.Serve(s.door)
	if errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, s.Close())
}

// lastWords is how long clients may read their results after the server has begun to end.
const lastWords = 5 * time.Second

// Close ends all tracers and detaches from their processes. Clients are told, and may read their
// results for a moment; a new server can start at once.
func (s *Server) Close() error {
	s.end.Do(func() {
		close(s.ending)
		s.mu.Lock()
		d := s.door
		s.mu.Unlock()
		if d != nil {
			_ = d.Close()
		}
		s.err = s.arbiter.Close()
		for end := time.Now().Add(lastWords); len(s.all()) > 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		s.grpc.Stop()
		close(s.ended)
	})
	<-s.ended
	return s.err
}

// endIdle ends a server without clients.
func (s *Server) endIdle() {
	s.mu.Lock()
	s.idled = s.users == 0
	idled := s.idled
	s.mu.Unlock()
	if idled {
		_ = s.Close()
	}
}

// use marks that a client is about to become a tracer, until unuse: attaching takes a while.
func (s *Server) use() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idled {
		return arbiter.ErrClosed
	}
	s.users++
	if s.idle != nil {
		s.idle.Stop()
	}
	return nil
}

// used reports whether the server has, or is about to have, a tracer.
func (s *Server) used() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users > 0
}

func (s *Server) unuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.idle != nil && s.users == 0 {
		s.idle.Reset(s.opts.Idle)
	}
}

// enter records a tracer under a name that can't be guessed.
func (s *Server) enter(t *tracer) (token string) {
	token = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracers[token] = t
	return token
}

// leave ends a tracer.
func (s *Server) leave(token string) {
	s.mu.Lock()
	t := s.tracers[token]
	delete(s.tracers, token)
	s.mu.Unlock()
	_ = t.Close()
}

// find returns the tracer with a token, for the process that has made it.
func (s *Server) find(p access.Peer, token string) (*tracer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracers[token]
	if t == nil || t.peer.UID != p.UID || t.peer.PID != p.PID {
		return nil, wire.ErrToken
	}
	return t, nil
}

// all returns all tracers.
func (s *Server) all() (list []*tracer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tracers {
		list = append(list, t)
	}
	return list
}

// tracer returns the tracer that a request is for.
func (s *Server) tracer(ctx context.Context, token string) (*tracer, error) {
	p, err := asks(ctx)
	if err != nil {
		return nil, err
	}
	return s.find(p, token)
}

// Hello implements wire.ArbiterServer.
func (s joining) Hello(ctx context.Context, r *wire.HelloRequest) (*wire.HelloReply, error) {
	if _, err := asks(ctx); err != nil {
		return nil, err
	}
	if r.Protocol < wire.Least {
		return nil, fmt.Errorf("%w: %q speaks protocol %d, this server (process %d, version %s) %d to %d: use a newer client",
			wire.ErrVersion, r.Client, r.Protocol, os.Getpid(), s.opts.Version, wire.Least, wire.Protocol)
	}
	return &wire.HelloReply{Version: s.opts.Version, Protocol: wire.Protocol, Least: wire.Least, Pid: int32(os.Getpid()),
		Since: s.since.UnixNano(), HoldLimit: int64(max(cmp.Or(s.opts.HoldLimit, 30*time.Second), 0)), Worker: s.opts.worker}, nil
}

// Tracers implements wire.ArbiterServer.
func (s joining) Tracers(ctx context.Context, r *wire.TracersRequest) (*wire.TracersReply, error) {
	p, err := asks(ctx)
	if err != nil {
		return nil, err
	}
	reply := &wire.TracersReply{}
	for _, i := range s.arbiter.Tracers(int(r.Pid), r.Hits) {
		if i.UID == p.UID || p.Root || mayAny(p, i.Processes) {
			reply.Tracers = append(reply.Tracers, wire.FromTracer(&i))
		}
	}
	return reply, nil
}

func mayAny(p access.Peer, pids []int) bool {
	for _, pid := range pids {
		if access.MayTrace(p, pid) == nil {
			return true
		}
	}
	return false
}

// Bounds of a request for a tracer: events that wait, and bytes of its name.
const maxBuffer, maxName = 1 << 20, 200

// Join implements wire.ArbiterServer.
func (s joining) Join(r *wire.JoinRequest, out grpc.ServerStreamingServer[wire.Told]) error {
	p, err := asks(out.Context())
	if err != nil {
		return err
	}
	if r.Buffer < 0 || r.Buffer > maxBuffer || len(r.Name) > maxName {
		return fmt.Errorf("%w: a buffer of %d events, a name of %d bytes", wire.ErrMessage, r.Buffer, len(r.Name))
	}
	if err := s.use(); err != nil {
		return err
	}
	defer s.unuse()
	id := arbiter.Identity{Name: r.Name, PID: p.PID, UID: p.UID, GIDs: p.GIDs, Allow: func(pid int) error { return access.MayTrace(p, pid) }}
	at, err := s.arbiter.Join(int(r.Pid), id, engine.Options{Follow: r.Follow, Signals: r.Signals, Life: r.Life, Buffer: int(r.Buffer), Handlers: s.names})
	if err != nil {
		return err
	}
	t := &tracer{Tracer: at, peer: p, id: at.Info().ID}
	token := s.enter(t)
	defer s.leave(token)
	joined := &wire.Joined{Token: token, Id: int32(t.id), Isa: at.ISA().Name(), Registers: at.ISA().RegNames()}
	for _, o := range at.Others() {
		joined.Others = append(joined.Others, wire.FromTracer(&o))
	}
	if err := out.Send(&wire.Told{Joined: joined}); err != nil {
		return err
	}
	return s.stream(t, out)
}

// batch is how many events go into one message.
const batch = 512

// stream sends a tracer's events until its end, and stays until the client has read the results.
func (s joining) stream(t *tracer, out grpc.ServerStreamingServer[wire.Told]) error {
	for {
		e, err := t.Poll(out.Context())
		if errors.Is(err, engine.ErrEnded) {
			break
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
	ended := &wire.Told{Ended: true}
	select {
	case <-s.ending:
		ended.Why = "ptracer's server ends, and has let the processes go"
	default:
	}
	if err := out.Send(ended); err != nil {
		return err
	}
	<-out.Context().Done()
	return nil
}
