package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
)

// greeting is how long a peer may take to send its first bytes.
const greeting = 10 * time.Second

// connection is a connection of a peer. If the peer is refused, each request is answered with the
// reason.
type connection struct {
	*net.UnixConn
	in      *bufio.Reader
	peer    access.Peer
	refused error
	done    func()
	once    sync.Once
}

func (c *connection) Read(b []byte) (int, error) { return c.in.Read(b) }

func (c *connection) Close() error {
	c.once.Do(c.done)
	return c.UnixConn.Close()
}

// arrival is a new connection and its peer.
type arrival struct {
	*net.UnixConn
	ask  func() (access.Peer, error) // the peer; the error is why it is refused
	done func()                      // at its end
}

// source is where connections come from. next fails with net.ErrClosed when there will be no more.
type source interface {
	next() (arrival, error)
	Close() error
}

// socket is the source of a server that listens itself. Such a server acts with its own rights, and
// so serves only its own user and root.
type socket struct{ *net.UnixListener }

func (s socket) next() (arrival, error) {
	c, err := s.AcceptUnix()
	return arrival{c, func() (access.Peer, error) {
		p, err := peerOf(c)
		if own := os.Geteuid(); err == nil && p.UID != 0 && int(p.UID) != own {
			err = fmt.Errorf("%w: the server is user %d's; 'ptracer serve --system' serves all users", wire.ErrPeer, own)
		}
		return p, err
	}, func() {}}, err
}

// door is the listener that gRPC gets: the connections of peers that do not ask for a file.
type door struct {
	from   source
	limits *limits
	files  func(access.Peer, *net.UnixConn, string) // serves a peer that asks for a file
	ready  chan net.Conn
	ctx    context.Context
	end    context.CancelFunc
}

func newDoor(from source, limits *limits, files func(access.Peer, *net.UnixConn, string)) *door {
	d := &door{from: from, limits: limits, files: files, ready: make(chan net.Conn)}
	d.ctx, d.end = context.WithCancel(context.Background())
	go d.loop()
	return d
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.ready:
		return c, nil
	case <-d.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	d.end()
	return d.from.Close()
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return &net.UnixAddr{Name: "ptracer", Net: "unix"} }

func (d *door) loop() {
	for {
		c, err := d.from.next()
		switch {
		case errors.Is(err, net.ErrClosed):
			d.end()
			return
		case err != nil: // no descriptors left
			time.Sleep(10 * time.Millisecond)
		default:
			go d.receive(c)
		}
	}
}

// Requests for a file begin with one of these, which no HTTP/2 connection does.
var fileRequests = []string{"PTRACER MAPS ", "PTRACER READ "}

// receive finds out which peer has connected, and what for. A refused peer is told the reason, within a
// time limit.
func (d *door) receive(a arrival) {
	c := a.UnixConn
	conn := &connection{UnixConn: c, in: bufio.NewReader(c), done: a.done}
	conn.peer, conn.refused = a.ask()
	uid := conn.peer.UID
	if conn.refused == nil {
		conn.refused = d.limits.connect(uid)
	}
	switch {
	case conn.refused == nil:
		conn.done = func() { d.limits.disconnect(uid); a.done() }
	case !d.limits.refuse():
		conn.Close()
		return
	default:
		conn.done = func() { d.limits.refused(); a.done() }
		time.AfterFunc(greeting, func() { conn.Close() })
	}
	_ = c.SetReadDeadline(time.Now().Add(greeting))
	first, err := conn.in.Peek(len(fileRequests[0]))
	switch {
	case err != nil:
		conn.Close()
	case string(first) == fileRequests[0], string(first) == fileRequests[1]:
		line, err := bufio.NewReader(io.LimitReader(conn.in, 200)).ReadString('\n')
		if err == nil && conn.refused == nil {
			d.files(conn.peer, c, strings.TrimSpace(line))
		}
		conn.Close()
	default:
		_ = c.SetReadDeadline(time.Time{})
		select {
		case d.ready <- conn:
		case <-d.ctx.Done():
			conn.Close()
		}
	}
}

// known gives gRPC a connection with a peer that is already known. It encrypts nothing: the
// connection stays in the kernel.
type known struct {
	credentials.TransportCredentials
}

type authInfo struct {
	credentials.CommonAuthInfo
	peer    access.Peer
	refused error
}

// AuthType implements credentials.AuthInfo.
func (authInfo) AuthType() string { return "peer" }

// ServerHandshake implements credentials.TransportCredentials.
func (known) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, ok := c.(*connection)
	if !ok {
		return nil, nil, errors.New("a connection without a peer")
	}
	return c, authInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, conn.peer, conn.refused}, nil
}

// Info implements credentials.TransportCredentials.
func (known) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peer"}
}

// Clone implements credentials.TransportCredentials.
func (k known) Clone() credentials.TransportCredentials { return k }
