package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"google.golang.org/grpc/peer"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/procfs"
)

// soPeerPIDFD is SO_PEERPIDFD of Linux 6.5 (asm-generic/socket.h).
const soPeerPIDFD = 77

// peerOf describes the peer of a socket: the process that has connected it, with the ids that the
// process had at that moment. The rest is read from the process, which may have ended meanwhile,
// and its id may have been reused: a descriptor of the process tells.
func peerOf(c *net.UnixConn) (access.Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return access.Peer{}, err
	}
	var cred *syscall.Ucred
	var err2 error
	pidfd := -1
	err = raw.Control(func(fd uintptr) {
		cred, err2 = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, soPeerPIDFD); err == nil {
			pidfd = n
		}
	})
	if pidfd >= 0 {
		defer syscall.Close(pidfd)
	}
	if err = errors.Join(err, err2); err != nil {
		return access.Peer{}, err
	}
	p := access.Peer{PID: int(cred.Pid), UID: cred.Uid, GID: cred.Gid}
	if cred.Pid == 0 {
		return p, fmt.Errorf("%w: the client is in another PID namespace than the server", wire.ErrPeer)
	}
	found, err := access.PeerOf(p.PID, p.UID, p.GID)
	if err != nil || pidfd >= 0 && !alive(pidfd) {
		return p, fmt.Errorf("%w: process %d, which has connected, has ended", wire.ErrPeer, p.PID)
	}
	return found, nil
}

// alive reports whether the process of a descriptor has not been waited for yet: until then its id
// is not reused.
func alive(pidfd int) bool { return procfs.PIDOf(pidfd) > 0 }

// asks returns the peer that makes a request.
func asks(ctx context.Context) (access.Peer, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return access.Peer{}, wire.ErrPeer
	}
	info, ok := p.AuthInfo.(authInfo)
	if !ok {
		return access.Peer{}, wire.ErrPeer
	}
	return info.peer, info.refused
}
