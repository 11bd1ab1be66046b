package server

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/access"
)

// TestIdentity writes and reads identities, and refuses invalid ones.
func TestIdentity(t *testing.T) {
	for _, want := range []Identity{{Root: true}, {UID: 1000, GID: 1001}, {UID: 1, GID: 0, Groups: []uint32{4, 27}}} {
		got, err := ParseIdentity(want.String())
		if err != nil || got.String() != want.String() || got.name() != want.name() {
			t.Errorf("%v: %v, %v", want, got, err)
		}
	}
	for _, text := range []string{"", "0:0", "0:0:1", "1", "1:", "-1:1", "1:1:x", "1:1:1:1:x", "refused", "names", "4294967296:1"} {
		if who, err := ParseIdentity(text); err == nil {
			t.Errorf("%q is taken for %v", text, who)
		}
	}
}

// TestHandOver sends a connection, its peer, and why it is refused.
func TestHandOver(t *testing.T) {
	front, file, err := pair(syscall.SOCK_SEQPACKET)
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	worker, err := packets(file)
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	mine, file, err := pair(syscall.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	theirs, err := packets(file)
	if err != nil {
		t.Fatal(err)
	}
	want := message{Kind: handedOver, Peer: access.Peer{PID: 7, UID: 1, GID: 2, GIDs: []uint32{3}, NS: "ns"}, Refused: pack(engine.ErrNamespace)}
	if err := errors.Join(send(front, want, theirs), theirs.Close()); err != nil {
		t.Fatal(err)
	}
	got, c, err := receive(worker)
	if err != nil || c == nil || !cmp.Equal(got, want) || !errors.Is(unpack(got.Refused), engine.ErrNamespace) {
		t.Fatalf("%+v, %v, %v", got, c, err)
	}
	defer c.Close()
	b := make([]byte, 2)
	_, err = mine.Write([]byte("hi"))
	if n, err2 := c.Read(b); err != nil || err2 != nil || string(b[:n]) != "hi" {
		t.Errorf("%q, %v, %v", b[:n], err, err2)
	}
	front.Close()
	if _, _, err := receive(worker); err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("behind the end: %v", err)
	}
}
