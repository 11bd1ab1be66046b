// Package client traces processes through ptracer's server (package server), and
// so beside other tracers:
//
//	s, err := client.Attach(pid)    // where engine.Attach(pid) was
//
// A Session is an engine.Session. What it can't do is said by errors that wrap
// errors.ErrUnsupported: resident probes, handlers in the kernel, RunHandler. A
// ProbeSpec's Func runs here, on a goroutine of the session's, while the task is
// held; each costs some round trips to the server.
//
// The results of handlers, and their records, are read from memory that is
// shared with the traced program, not through the server.
package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
)

// SocketEnv names the environment's variable that says where the server's socket
// is.
const SocketEnv = "PTRACER_SOCKET"

// DefaultSocket is where a user's server is: what SocketEnv says, else
// ptracer/socket in XDG_RUNTIME_DIR, /run/user/UID, or /tmp/ptracer-UID/socket.
func DefaultSocket() string {
	if path := os.Getenv(SocketEnv); path != "" {
		return path
	}
	uid := strconv.Itoa(os.Getuid())
	for _, dir := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/run/user/" + uid} {
		if fi, err := os.Stat(dir); dir != "" && err == nil && fi.IsDir() {
			return filepath.Join(dir, "ptracer", "socket")
		}
	}
	return "/tmp/ptracer-" + uid + "/socket"
}

// Dialer says how a server is reached. The zero value is good.
type Dialer struct {
	Socket string // "": DefaultSocket
	Name   string // of the tracer, for those it shares with; "": the program's
	// Start starts a server at the socket if none answers; nil: that is an error.
	Start func(socket string) error
}

// ErrNoServer is of a socket at which no server answers.
var ErrNoServer = errors.New("no ptracer server answers")

// Attach traces a running process through the server at the default socket.
func Attach(pid int, opts ...engine.Options) (*Session, error) {
	return Dialer{}.Attach(pid, opts...)
}

// Attach traces a running process.
func (d Dialer) Attach(pid int, opts ...engine.Options) (*Session, error) {
	if len(opts) > 1 {
		return nil, errors.New("more than one Options")
	}
	opts = append(opts, engine.Options{})
	if opts[0].Resident || opts[0].Handlers != nil {
		return nil, fmt.Errorf("resident probes, and a registry of handlers of one's own: %w by a server", errors.ErrUnsupported)
	}
	c, err := d.dial()
	if err != nil {
		return nil, err
	}
	s, err := join(c, pid, d.name(), opts[0])
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	return s, nil
}

// Tracers tells of the tracers of processes that we may trace: of all with pid
// 0.
func (d Dialer) Tracers(pid int) (list []arbiter.TracerInfo, err error) {
	c, err := d.dial()
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	reply, err := c.api.Tracers(context.Background(), &wire.TracersRequest{Pid: int32(pid)})
	if err != nil {
		return nil, wire.FromStatus(err)
	}
	for _, m := range reply.Tracers {
		list = append(list, wire.ToTracer(m))
	}
	return list, nil
}

func (d Dialer) name() string {
	if d.Name != "" {
		return d.Name
	}
	return filepath.Base(os.Args[0])
}

// link is a connection to a server.
type link struct {
	socket string
	conn   *grpc.ClientConn
	api    wire.ArbiterClient
}

// dial connects to a server, which may have to be started, and learns whether it
// speaks our protocol.
func (d Dialer) dial() (*link, error) {
	socket := d.Socket
	if socket == "" {
		socket = DefaultSocket()
	}
	c, err := knock(socket)
	if err != nil && d.Start != nil && errors.Is(err, ErrNoServer) {
		if err := d.Start(socket); err != nil {
			return nil, fmt.Errorf("start a server: %w", err)
		}
		c, err = knock(socket)
	}
	if err != nil {
		return nil, err
	}
	c.Close()
	conn, err := grpc.NewClient("passthrough:///ptracer",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return knock(socket) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage)))
	if err != nil {
		return nil, err
	}
	l := &link{socket, conn, wire.NewArbiterClient(conn)}
	if err := l.hello(); err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

func (l *link) hello() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	reply, err := l.api.Hello(ctx, &wire.HelloRequest{})
	if err != nil {
		return fmt.Errorf("%s: not a ptracer server, or of a version that we do not know: %w", l.socket, wire.FromStatus(err))
	}
	if reply.Protocol < wire.Protocol {
		return fmt.Errorf("the server at %s (process %d, version %s) is older than this program: end it, it will be started anew", l.socket, reply.Pid, reply.Version)
	}
	return nil
}

// knock connects to a server that is ours, or root's.
func knock(socket string) (*net.UnixConn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: %w: start one by 'ptracer serve'", socket, ErrNoServer)
	}
	if err != nil {
		return nil, err
	}
	uid, err := ownerOf(c)
	if err == nil && uid != 0 && uid != os.Getuid() {
		err = fmt.Errorf("%s: the server there is user %d's", socket, uid)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// ownerOf is the user on the other side of a socket.
func ownerOf(c *net.UnixConn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var err2 error
	err = raw.Control(func(fd uintptr) {
		cred, err2 = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, err2); err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}
