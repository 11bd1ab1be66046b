package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
)

// A pair of sockets that preserve message boundaries connects a front with each of its workers. The
// front sends connections, and what it knows of their peers.

// message is what the front or the worker sends.
type message struct {
	Kind    kind
	Peer    access.Peer `json:",omitzero"`
	Refused []byte      `json:",omitempty"` // why a connection is refused: a status of gRPC's
	Had     int         `json:",omitempty"` // unused: how many connections the worker has received
}

type kind string

const (
	handedOver kind = "peer"     // from the front: a connection, which comes with the message
	farewell   kind = "farewell" // from the front: there will be no more connections; the answer to unused
	ending     kind = "end"      // from the front: end everything
	unused     kind = "unused"   // from a worker: it has had no connection for some time
)

// maxMessage is the largest size of a message, in bytes.
const maxMessage = 64 << 10

// pair makes both ends of a connection between a front and a worker (SOCK_SEQPACKET), or of a
// stream (SOCK_STREAM).
func pair(kind int) (front *net.UnixConn, worker *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	worker = os.NewFile(uintptr(fds[1]), "worker")
	if front, err = packets(os.NewFile(uintptr(fds[0]), "front")); err != nil {
		return nil, nil, errors.Join(err, worker.Close())
	}
	return front, worker, nil
}

// packets makes a connection of one end of a pair. It closes the file.
func packets(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("not a socket of a front's"), c.Close())
	}
	return u, nil
}

// send sends a message, with a connection unless c is nil.
func send(to *net.UnixConn, m message, c *net.UnixConn) error {
	b, err := json.Marshal(m)
	if err != nil || len(b) > maxMessage {
		return errors.Join(fmt.Errorf("a message of %d bytes", len(b)), err)
	}
	if c == nil {
		_, _, err = to.WriteMsgUnix(b, nil, nil)
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	err2 := raw.Control(func(fd uintptr) { _, _, err = to.WriteMsgUnix(b, syscall.UnixRights(int(fd)), nil) })
	return errors.Join(err, err2)
}

// receive reads the next message; its connection is nil if none came with it.
func receive(from *net.UnixConn) (message, *net.UnixConn, error) {
	b, oob := make([]byte, maxMessage), make([]byte, syscall.CmsgSpace(4))
	n, k, _, _, err := from.ReadMsgUnix(b, oob)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return message{}, nil, err
	}
	var c *net.UnixConn
	if k > 0 {
		if c, err = received(oob[:k]); err != nil {
			return message{}, nil, err
		}
	}
	var m message
	if err := json.Unmarshal(b[:n], &m); err != nil {
		return m, c, err
	}
	return m, c, nil
}

func received(oob []byte) (*net.UnixConn, error) {
	list, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(list) != 1 {
		return nil, errors.Join(errors.New("no connection came"), err)
	}
	fds, err := syscall.ParseUnixRights(&list[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("no connection came"), err)
	}
	syscall.CloseOnExec(fds[0])
	return packets(os.NewFile(uintptr(fds[0]), "connection"))
}

// pack encodes an error so that unpack returns the error that a client is told.
func pack(err error) []byte {
	b, _ := proto.Marshal(status.Convert(wire.ToStatus(err)).Proto())
	return b
}

func unpack(b []byte) error {
	var s spb.Status
	if err := proto.Unmarshal(b, &s); err != nil {
		return wire.ErrPeer
	}
	return wire.FromStatus(status.ErrorProto(&s))
}

// Identity says which user a worker process serves.
type Identity struct {
	UID, GID uint32
	Groups   []uint32
	Root     bool // with all rights, for root alone
}

// name distinguishes workers: there is one for each user and group.
func (i Identity) name() string {
	if i.Root {
		return "root"
	}
	return fmt.Sprintf("%d:%d", i.UID, i.GID)
}

// String writes the identity as ParseIdentity reads it: root, or UID:GID:GROUP,...
func (i Identity) String() string {
	if i.Root {
		return i.name()
	}
	var groups []string
	for _, g := range i.Groups {
		groups = append(groups, strconv.FormatUint(uint64(g), 10))
	}
	return i.name() + ":" + strings.Join(groups, ",")
}

// ParseIdentity reads an identity that String has written; the groups may be missing.
func ParseIdentity(text string) (Identity, error) {
	if text == "root" {
		return Identity{Root: true}, nil
	}
	fields := strings.Split(text, ":")
	var ids []uint32
	if len(fields) == 3 {
		fields = append(fields[:2], strings.FieldsFunc(fields[2], func(r rune) bool { return r == ',' })...)
	}
	for _, f := range fields {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return Identity{}, fmt.Errorf("%q: want root or UID:GID[:GROUPS]: %w", text, err)
		}
		ids = append(ids, uint32(n))
	}
	if len(ids) < 2 || ids[0] == 0 {
		return Identity{}, fmt.Errorf("%q: want root or UID:GID[:GROUPS]", text)
	}
	return Identity{UID: ids[0], GID: ids[1], Groups: slices.Clip(ids[2:])}, nil
}
