// Package client traces processes through ptracer's server (package server), and so shares them
// with other tracers:
//
//	s, err := client.Attach(ctx, pid)    // in place of engine.Attach(ctx, pid)
//
// A Session is an engine.Session. Resident probes, and handlers in the kernel, are not available:
// these requests return errors that wrap errors.ErrUnsupported. A ProbeSpec's Func runs in this
// process, on a goroutine of the session's, while the task is held; each call costs some round
// trips to the server.
//
// The results of handlers, and their records, are read from memory that is shared with the traced
// program, not through the server.
//
// A Registry has the handlers that other users may run, by name.
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/failure"
)

// SocketEnv is the name of the environment variable that holds the path of the server's socket.
const SocketEnv = "PTRACER_SOCKET"

// DefaultSocket is the path of the user's server: the value of SocketEnv, else ptracer/socket in
// XDG_RUNTIME_DIR, /run/user/UID, or /tmp/ptracer-UID/socket.
func DefaultSocket() string {
	if path := os.Getenv(SocketEnv); path != "" {
		return path
	}
	return UserSocket(os.Getuid(), os.Getenv("XDG_RUNTIME_DIR"))
}

// UserSocket is the path of a user's server; runtimeDir is the user's XDG_RUNTIME_DIR, or "". A
// runtimeDir that belongs to another user is ignored: sudo may have left one in the environment.
func UserSocket(uid int, runtimeDir string) string {
	for _, dir := range []string{runtimeDir, "/run/user/" + strconv.Itoa(uid)} {
		fi, err := os.Stat(dir)
		if dir == "" || err != nil || !fi.IsDir() {
			continue
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && int(st.Uid) == uid {
			return filepath.Join(dir, "ptracer", "socket")
		}
	}
	return "/tmp/ptracer-" + strconv.Itoa(uid) + "/socket"
}

// Dialer configures how to reach a server. The zero value is ready to use.
type Dialer struct {
	Socket string // "": DefaultSocket
	Name   string // of the tracer, shown to other tracers; "": the program's
	Trust  []int  // further users with servers that are accepted, beside this user and root
	// Patience is how long a server may take to answer the first request; 0: 20 s.
	Patience time.Duration
	// Start starts a server at the socket if no server answers; nil: Attach returns an error then.
	Start func(socket string) error
}

// direct tells the user how to get what a server does not offer.
const direct = "a session of its own (--direct)"

// ErrNoServer is returned for a socket at which no server answers.
var ErrNoServer = errors.New("no ptracer server answers")

// Attach traces a running process through the server at the default socket.
func Attach(ctx context.Context, pid int, opts ...engine.Options) (*Session, error) {
	return Dialer{}.Attach(ctx, pid, opts...)
}

// Attach traces a running process. If ctx is done before Attach is, the error wraps ctx.Err(), and
// the server detaches from the process as soon as its own attach is through. After Attach has
// returned, ctx has no effect on the session.
func (d Dialer) Attach(ctx context.Context, pid int, opts ...engine.Options) (*Session, error) {
	if len(opts) > 1 {
		return nil, errors.New("more than one Options")
	}
	if err := known(pid); err != nil {
		return nil, err
	}
	opts = append(opts, engine.Options{})
	if o := opts[0]; o.Resident || o.Handlers != nil {
		return nil, &failure.Unsupported{What: "resident probes, and handlers and rights of one's own, by a server", Needs: direct}
	}
	for end := time.Now().Add(ending); ; time.Sleep(ending / 500) {
		s, err := d.attach(ctx, pid, opts[0])
		if err != nil && ctx.Err() != nil {
			return nil, &engine.AttachError{PID: pid, Reason: ctx.Err()}
		}
		ends := errors.Is(err, arbiter.ErrClosed) || errors.Is(err, wire.ErrServer)
		if !ends || d.Start == nil || time.Now().After(end) {
			return s, err
		}
	}
}

// ending is how long a server that ends because it was idle may still answer so, before another can
// be started.
const ending = 5 * time.Second

func (d Dialer) attach(ctx context.Context, pid int, o engine.Options) (*Session, error) {
	c, err := d.dialFor(ctx, pid)
	if err != nil {
		return nil, err
	}
	s, err := join(ctx, c, pid, d.name(), o)
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	return s, nil
}

// ServerInfo describes a server.
type ServerInfo struct {
	Socket    string
	PID       int
	Version   string
	Since     time.Time
	HoldLimit time.Duration // 0: no limit
	Worker    string        // of a server for all users: the worker that serves this client; else ""
}

// Server describes the server that answers.
func (d Dialer) Server() (ServerInfo, error) {
	c, err := d.dial(context.Background())
	if err != nil {
		return ServerInfo{}, err
	}
	return c.info, c.conn.Close()
}

// Tracers describes the tracers of a process that this user may trace, or of all such processes if
// pid is 0.
func (d Dialer) Tracers(pid int) ([]arbiter.TracerInfo, error) { return d.tracers(pid, false) }

// Hits is Tracers with the hit counts of the tracers' probes.
func (d Dialer) Hits(pid int) ([]arbiter.TracerInfo, error) { return d.tracers(pid, true) }

func (d Dialer) tracers(pid int, hits bool) (list []arbiter.TracerInfo, err error) {
	c, err := d.dial(context.Background())
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	err = c.workers(func(of *link) error {
		reply, err := call(of.api.Tracers, &wire.TracersRequest{Pid: wire.Narrow(pid), Hits: hits})
		for _, m := range reply.GetTracers() {
			list = append(list, wire.ToTracer(m))
		}
		return err
	})
	return list, err
}

func (d Dialer) name() string {
	if d.Name != "" {
		return d.Name
	}
	return filepath.Base(os.Args[0])
}

// link is a connection to a server.
type link struct {
	info     ServerInfo
	trust    []int
	name     string // the client's
	patience time.Duration
	to       string // the line that names one of a server's workers; "": none
	conn     *grpc.ClientConn
	api      wire.ArbiterClient
}

// dial connects to a server, which it may have to start, and finds out whether the server speaks
// this client's protocol.
func (d Dialer) dial(ctx context.Context) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	socket := d.Socket
	if socket == "" {
		socket = DefaultSocket()
	}
	l := &link{info: ServerInfo{Socket: socket}, trust: d.Trust, name: d.name(), patience: cmp.Or(d.Patience, 20*time.Second)}
	c, err := l.knock()
	if err != nil && d.Start != nil && errors.Is(err, ErrNoServer) {
		if err := d.Start(socket); err != nil {
			return nil, fmt.Errorf("start a server: %w", err)
		}
		c, err = l.knock()
	}
	if err != nil {
		return nil, err
	}
	return l, l.open(ctx, c)
}

// dialFor connects to the server for a process. For root, at a server for all users, that is the
// worker of the process's user.
func (d Dialer) dialFor(ctx context.Context, pid int) (*link, error) {
	l, err := d.dial(ctx)
	if err != nil || !l.forRoot() {
		return l, err
	}
	names, err := l.ask(ctx, fmt.Sprintf("PTRACER WORKER %d", pid))
	if err == nil && len(names) != 1 {
		err = fmt.Errorf("%s: the server has no worker for process %d", l.info.Socket, pid)
	}
	var of *link
	if err == nil {
		of, err = l.worker(ctx, names[0])
	}
	if of != l {
		l.conn.Close()
	}
	return of, err
}

// forRoot reports whether the link is root's to a server for all users.
func (l *link) forRoot() bool { return l.info.Worker != "" && os.Getuid() == 0 }

// worker returns a link to a worker of the server's; that is l itself if l leads there.
func (l *link) worker(ctx context.Context, name string) (*link, error) {
	if name == "" || name == l.info.Worker {
		return l, nil
	}
	of := &link{info: ServerInfo{Socket: l.info.Socket}, trust: l.trust, name: l.name, patience: l.patience, to: "PTRACER USER " + name + "\n"}
	c, err := of.knock()
	if err != nil {
		return nil, err
	}
	return of, of.open(ctx, c)
}

// workers calls f with a link to each worker, if the user is root and the server is one for all
// users; else with l. It skips a worker that ends meanwhile: the worker's user can end it at any
// time, and all that it had has ended with it.
func (l *link) workers(f func(*link) error) error {
	if !l.forRoot() {
		return f(l)
	}
	names, err := l.ask(context.Background(), "PTRACER WORKERS")
	if err != nil {
		return err
	}
	for _, name := range names {
		of, err := l.worker(context.Background(), name)
		if err == nil {
			err = f(of)
			if of != l {
				of.conn.Close()
			}
		}
		if err != nil && !errors.Is(err, wire.ErrServer) {
			return err
		}
	}
	return nil
}

// ask asks a server for all users a question; the answer has one name per line.
func (l *link) ask(ctx context.Context, question string) ([]string, error) {
	plain := &link{info: l.info, trust: l.trust}
	c, err := plain.knock()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(l.patience))
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })()
	if _, err := c.Write([]byte(question + "\n")); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(c, 1<<16))
	return strings.Fields(string(b)), err
}

// open starts to speak the protocol; the link then owns the connection. ctx applies to the first
// messages only.
func (l *link) open(ctx context.Context, c *net.UnixConn) error {
	first := make(chan net.Conn, 1) // the connection that the server has accepted
	first <- c
	conn, err := grpc.NewClient("passthrough:///ptracer",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case c := <-first:
				return c, nil
			default:
				return l.knock()
			}
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage)))
	if err != nil {
		c.Close()
		return err
	}
	l.conn, l.api = conn, wire.NewArbiterClient(conn)
	if err := l.hello(ctx); err != nil {
		conn.Close()
		return err
	}
	return nil
}

// hello asks the server for its description, and checks that it and the client know each other's
// protocol.
func (l *link) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	reply, err := l.api.Hello(ctx, &wire.HelloRequest{Client: l.name, Protocol: wire.Protocol})
	if err = wire.FromStatus(err); errors.Is(err, errors.ErrUnsupported) || errors.Is(err, wire.ErrVersion) {
		return fmt.Errorf("the server at %s does not speak ptracer's protocol: %w", l.info.Socket, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", l.info.Socket, err)
	}
	l.info.PID, l.info.Version, l.info.Since, l.info.HoldLimit = int(reply.Pid), reply.Version, time.Unix(0, reply.Since), time.Duration(reply.HoldLimit)
	l.info.Worker = reply.Worker
	switch {
	case reply.Protocol < wire.Protocol:
		return fmt.Errorf("the server at %s (process %d, version %s) is older than this program, %w: 'kill %d' ends it, and it is started anew", l.info.Socket, reply.Pid, reply.Version, wire.ErrVersion, reply.Pid)
	case reply.Least > wire.Protocol:
		return fmt.Errorf("the server at %s (process %d, version %s) is newer than this program, %w, and does not serve it any more", l.info.Socket, reply.Pid, reply.Version, wire.ErrVersion)
	}
	return nil
}

// knock connects to a server of this user, of root, or of a trusted user.
func (l *link) knock() (*net.UnixConn, error) {
	socket := l.info.Socket
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: %w: start one by 'ptracer serve'", socket, ErrNoServer)
	}
	if err != nil {
		return nil, err
	}
	uid, err := ownerOf(c)
	if err == nil && uid != 0 && uid != os.Getuid() && !slices.Contains(l.trust, uid) {
		err = fmt.Errorf("%s: the server there is user %d's", socket, uid)
	}
	if err == nil && l.to != "" {
		_, err = c.Write([]byte(l.to))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// ownerOf returns the user on the other side of a socket.
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
