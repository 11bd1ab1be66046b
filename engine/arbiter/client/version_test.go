package client

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
)

// impostor is a server of another version.
type impostor struct {
	wire.UnimplementedArbiterServer
	protocol, least int32
}

func (i *impostor) Hello(context.Context, *wire.HelloRequest) (*wire.HelloReply, error) {
	return &wire.HelloReply{Version: "v9", Protocol: i.protocol, Least: i.least, Pid: 77}, nil
}

// TestVersions meets servers that are older and newer than the client, and a server that is not
// ptracer's.
func TestVersions(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(*grpc.Server)
		want  string
	}{
		"older":   {func(s *grpc.Server) { wire.RegisterArbiterServer(s, &impostor{protocol: wire.Protocol - 1}) }, "(process 77, version v9) is older than this program"},
		"newer":   {func(s *grpc.Server) { wire.RegisterArbiterServer(s, &impostor{protocol: 99, least: wire.Protocol + 1}) }, "(process 77, version v9) is newer than this program"},
		"another": {func(*grpc.Server) {}, "does not speak ptracer's protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			s := grpc.NewServer()
			c.serve(s)
			end := make(chan error)
			go func() { end <- s.Serve(l) }()
			defer func() { s.Stop(); <-end }()
			_, err = Dialer{Socket: socket}.Attach(context.Background(), 1)
			if !errors.Is(err, wire.ErrVersion) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), socket) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestOldClient has a client that is older than the server accepts.
func TestOldClient(t *testing.T) {
	d := Dialer{Socket: serve(t, server.Options{Version: "v10"})}
	c, err := d.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	_, err = call(c.api.Hello, &wire.HelloRequest{Client: "old", Protocol: wire.Least - 1})
	if !errors.Is(err, wire.ErrVersion) || !strings.Contains(err.Error(), "version v10") {
		t.Errorf("%v", err)
	}
	if i, err := d.Server(); err != nil || i.Version != "v10" || i.PID == 0 || i.HoldLimit == 0 {
		t.Errorf("%+v, %v", i, err)
	}
}
