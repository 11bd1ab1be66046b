package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/ptracer/ptracer/engine"
)

// Bounds of what peers that have said nothing yet may cost.
const (
	greeting    = 10 * time.Second // to say the first word
	maxPerUser  = 1000             // connections
	filesPrefix = "PTRACER MAPS "
)

// Listen makes the socket of a server, for its user alone or for all. Where
// nobody answers at one that is there it is replaced. The folder is made; others
// may not write to it.
func Listen(path string, all bool) (*net.UnixListener, error) {
	folder, mask := os.FileMode(0o700), 0o177
	if all {
		folder, mask = 0o755, 0o111
	}
	if err := os.MkdirAll(filepath.Dir(path), folder); err != nil {
		return nil, err
	}
	if err := ownFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	if c, err := net.DialUnix("unix", nil, addr); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", path, ErrRunning)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	old := syscall.Umask(mask)
	l, err := net.ListenUnix("unix", addr)
	syscall.Umask(old)
	return l, err
}

// ErrRunning is of a socket at which a server answers already.
var ErrRunning = errors.New("a server runs there already")

// ownFolder refuses a folder in which others could put a socket of theirs.
func ownFolder(dir string) error {
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() && st.Uid != 0 || fi.Mode().Perm()&0o022 != 0 && fi.Mode()&os.ModeSticky == 0 {
		return fmt.Errorf("%s: others may write there: give another --socket", dir)
	}
	return nil
}

// connection is one of a known peer.
type connection struct {
	*net.UnixConn
	in   *bufio.Reader
	peer engine.Peer
	done func()
	once sync.Once
}

func (c *connection) Read(b []byte) (int, error) { return c.in.Read(b) }

func (c *connection) Close() error {
	c.once.Do(c.done)
	return c.UnixConn.Close()
}

// door is the listener that gRPC sees: connections of known peers that do not
// ask for a file.
type door struct {
	*net.UnixListener
	files func(engine.Peer, *net.UnixConn, string) // serves who asks for one
	ready chan net.Conn
	ctx   context.Context
	end   context.CancelFunc

	mu    sync.Mutex
	users map[uint32]int // connections
}

func newDoor(l *net.UnixListener, files func(engine.Peer, *net.UnixConn, string)) *door {
	d := &door{UnixListener: l, files: files, ready: make(chan net.Conn), users: map[uint32]int{}}
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
	return d.UnixListener.Close()
}

func (d *door) loop() {
	for {
		c, err := d.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			d.end()
			return
		case err != nil: // no more descriptors
			time.Sleep(10 * time.Millisecond)
		default:
			go d.receive(c)
		}
	}
}

// receive finds out who has come, and what for.
func (d *door) receive(c *net.UnixConn) {
	peer, err := peerOf(c)
	if err != nil || !d.count(peer.UID, 1) {
		c.Close()
		return
	}
	in := bufio.NewReader(c)
	_ = c.SetReadDeadline(time.Now().Add(greeting))
	first, err := in.Peek(len(filesPrefix))
	conn := &connection{UnixConn: c, in: in, peer: peer, done: func() { d.count(peer.UID, -1) }}
	switch {
	case err != nil:
		conn.Close()
	case string(first) == filesPrefix:
		line, err := bufio.NewReader(io.LimitReader(in, 200)).ReadString('\n')
		if err == nil {
			d.files(peer, c, strings.TrimSpace(strings.TrimPrefix(line, filesPrefix)))
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

// count counts a user's connections; it is false where they are too many.
func (d *door) count(uid uint32, n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n > 0 && d.users[uid] >= maxPerUser {
		return false
	}
	if d.users[uid] += n; d.users[uid] == 0 {
		delete(d.users, uid)
	}
	return true
}

// peerOf is who is on the other side of a socket.
func peerOf(c *net.UnixConn) (engine.Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return engine.Peer{}, err
	}
	var cred *syscall.Ucred
	var err2 error
	err = raw.Control(func(fd uintptr) {
		cred, err2 = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, err2); err != nil {
		return engine.Peer{}, err
	}
	return engine.PeerOf(int(cred.Pid), cred.Uid, cred.Gid)
}

// known is gRPC's view of a connection whose peer we know. It encrypts nothing:
// the kernel carries it.
type known struct {
	credentials.TransportCredentials
}

type authInfo struct {
	credentials.CommonAuthInfo
	peer engine.Peer
}

// AuthType implements credentials.AuthInfo.
func (authInfo) AuthType() string { return "peer" }

// ServerHandshake implements credentials.TransportCredentials.
func (known) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, ok := c.(*connection)
	if !ok {
		return nil, nil, errors.New("a connection of nobody")
	}
	return c, authInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, conn.peer}, nil
}

// Info implements credentials.TransportCredentials.
func (known) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peer"}
}

// Clone implements credentials.TransportCredentials.
func (k known) Clone() credentials.TransportCredentials { return k }

// fdRights is the control message that sends a file.
func fdRights(f *os.File) []byte { return syscall.UnixRights(int(f.Fd())) }
