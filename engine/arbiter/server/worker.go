package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A worker is a server that gets its connections from a front. It has only the ids of the user that
// it traces for: the kernel lets it do to a process what it lets that user do.

// Descriptors of the worker's end of the pair and, if namesEnv is set, of a connection to the
// worker that keeps the handlers by name.
const (
	workerFD = 3
	namesFD  = 4
	namesEnv = "PTRACER_WORKER_NAMES"
)

// RunWorker runs a worker, in a process that a front has started. It takes on the given identity,
// in a program with memory of its own (ptrace.Become executes this program again), and serves until
// the front tells it to end, or has ended.
func RunWorker(who Identity, o Options) error {
	if !who.Root && os.Getuid() == 0 {
		return ptrace.Become(who.UID, who.GID, who.Groups, ownProgram, os.Args, os.Environ())
	}
	if !who.Root && (os.Getuid() != int(who.UID) || os.Geteuid() != int(who.UID) || os.Getgid() != int(who.GID) || os.Getegid() != int(who.GID)) {
		return fmt.Errorf("worker %v: the process is user %d's", who, os.Getuid())
	}
	if !who.Root { // root may use it, too
		if err := ptrace.Hide(); err != nil {
			return fmt.Errorf("worker %v: %w", who, err)
		}
	}
	from, err := packets(os.NewFile(workerFD, "front"))
	if err != nil {
		return fmt.Errorf("worker %v: %w", who, err)
	}
	o.worker = who.name()
	if os.Getenv(namesEnv) != "" {
		if o.names, err = registryAt(os.NewFile(namesFD, "names")); err != nil {
			return fmt.Errorf("worker %v: %w", who, err)
		}
	}
	in := &inbox{front: from, idle: cmp.Or(o.Idle, 10*time.Second)}
	o.Idle = 0
	if !who.Root {
		o.Quota.Memory = share(o.Quota.Memory)
	}
	s := New(o)
	in.used = s.used
	in.rest()
	return s.serve(in)
}

// share is how much memory a user's tracers may have, in bytes, if asked bytes were requested (0:
// as much as possible). It is at most an eighth of the machine's.
func share(asked int64) int64 {
	var si syscall.Sysinfo_t
	if err := syscall.Sysinfo(&si); err != nil {
		return asked
	}
	most := min(int64(si.Totalram)*int64(si.Unit)/8, 2<<30)
	if asked == 0 {
		return most
	}
	return min(asked, most)
}

// registryAt connects to the registry of handlers at the other end of a connection.
func registryAt(f *os.File) (wire.ArbiterClient, error) {
	c, err := packets(f)
	if err != nil {
		return nil, err
	}
	first := make(chan net.Conn, 1)
	first <- c
	conn, err := grpc.NewClient("passthrough:///names", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case c := <-first:
				return c, nil
			default:
				return nil, arbiter.ErrClosed // the connection can't be made again
			}
		}))
	if err != nil {
		return nil, err
	}
	return wire.NewArbiterClient(conn), nil
}

// inbox receives a worker's connections.
type inbox struct {
	front *net.UnixConn
	idle  time.Duration
	used  func() bool // by a tracer, which may outlive its connection

	mu    sync.Mutex
	had   int // connections
	open  int // open now
	timer *time.Timer
	last  chan struct{} // closed when no connection is open, once there will be no more
}

// next implements source. After the front's farewell the inbox stays open until the last connection
// is closed.
func (in *inbox) next() (arrival, error) {
	for {
		m, c, err := receive(in.front)
		switch {
		case err != nil || m.Kind == ending:
			return arrival{}, net.ErrClosed
		case m.Kind == farewell:
			<-in.drained()
			return arrival{}, net.ErrClosed
		case m.Kind == handedOver && c != nil:
			in.came()
			return arrival{c, func() (access.Peer, error) {
				if m.Refused != nil {
					return m.Peer, unpack(m.Refused)
				}
				return m.Peer, nil
			}, sync.OnceFunc(in.went)}, nil
		}
	}
}

// Close implements source.
func (in *inbox) Close() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.timer != nil {
		in.timer.Stop()
	}
	if err := in.front.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (in *inbox) came() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.had++
	in.open++
	in.timer.Stop()
}

func (in *inbox) went() {
	in.mu.Lock()
	in.open--
	if in.open == 0 && in.last != nil {
		close(in.last)
	}
	rests := in.open == 0 && in.last == nil
	in.mu.Unlock()
	if rests {
		in.rest()
	}
}

// rest tells the front, after some time, that the worker is unused.
func (in *inbox) rest() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.timer == nil {
		in.timer = time.AfterFunc(in.idle, in.offer)
		return
	}
	in.timer.Reset(in.idle)
}

// offer tells the front that the worker is unused.
func (in *inbox) offer() {
	in.mu.Lock()
	m := message{Kind: unused, Had: in.had}
	rests := in.open == 0
	in.mu.Unlock()
	switch {
	case !rests:
	case in.used():
		in.rest()
	default: // again, if the front has a connection on its way
		_ = send(in.front, m, nil)
		in.rest()
	}
}

// drained is closed when no connection is open any more.
func (in *inbox) drained() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.last = make(chan struct{})
	if in.open == 0 {
		close(in.last)
	}
	return in.last
}
