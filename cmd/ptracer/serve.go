package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/sharing"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/engine/arbiter/server"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	socket  string
	system  bool
	idle    time.Duration
	hang    time.Duration
	hold    time.Duration
	control time.Duration
	readyFD int
	worker  string
}

func newServe() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Serve tracers that share processes",
		Long: `Own the ptrace attachment of processes, so that any number of tracers can share
them: 'ptracer count -p PID' and the like, and programs that use the Go package
engine/arbiter/client or the gRPC protocol (engine/arbiter/wire/ptracer.proto).
Verbs with -p start a server by themselves, in a session of its own; it ends when
it has not been used for some seconds. Started here it stays in the foreground.

A server acts with its own rights, and so for its own user, and root, alone. With
--system it serves all users: it has a process for each (a worker) which has that
user's rights, so that the kernel decides what a client may do. A tracer that ends,
is killed, or does not answer takes its probes with it; the others', and the
program, go on. A thread that a tracer keeps stopped goes on when it lets go, or its
time is over. With the server's end all processes are let go; if it is killed they
go on, too, and the next tracer, or 'ptracer stop PID', cleans up.

The socket is $PTRACER_SOCKET, else ptracer/socket in $XDG_RUNTIME_DIR or
/run/user/UID, else /tmp/ptracer-UID/socket; with --system /run/ptracer/socket,
for all users. These folders are made; that of $PTRACER_SOCKET, or of --socket, has
to be there.`,
		Example: `  ptracer serve &
  ptracer count -p 1234 'libc:malloc' & ptracer trace -p 1234 main.serve
  ptracer tracers
  sudo ptracer serve --system --hold-limit 5s`,
		Args: cobra.NoArgs,
		RunE: verb(func(*cobra.Command, []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return serve(&o)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.socket, "socket", "", "listen at `FILE`")
	f.BoolVar(&o.system, "system", false, "serve all users, at "+sharing.SystemSocket)
	f.DurationVar(&o.idle, "idle", 0, "end when there was no tracer for `TIME`; 0: never")
	f.DurationVar(&o.hang, "hang", 20*time.Second, "a client that does not answer for `TIME` is gone")
	f.DurationVar(&o.hold, "hold-limit", 30*time.Second, "a tracer may keep a thread stopped for `TIME`; 0: for ever")
	f.DurationVar(&o.control, "control-limit", 5*time.Minute, "a tracer may control a process for `TIME` at a stretch")
	f.IntVar(&o.readyFD, "ready-fd", 0, "say when it answers, or why it can't, to this descriptor")
	f.StringVar(&o.worker, "worker", "", "be a worker of the server for all users")
	_ = f.MarkHidden("ready-fd")
	_ = f.MarkHidden("worker")
	return cmd
}

func (o *serveOptions) check() error {
	for flag, d := range map[string]time.Duration{"idle": o.idle, "hang": o.hang, "hold-limit": o.hold, "control-limit": o.control} {
		if d < 0 {
			return exit.Usage("--%s %v: a duration can't be negative", flag, d)
		}
	}
	return nil
}

func serve(o *serveOptions) error {
	switch {
	case o.worker != "":
		return work(o)
	case o.system && os.Geteuid() != 0:
		return errors.New("serve --system: only root can act for all users")
	case o.system:
		if err := server.Confine(); err != nil {
			return fmt.Errorf("serve --system: %w", err)
		}
	}
	err := serveAt(o)
	if o.readyFD > 0 && err != nil {
		tellStarter(o.readyFD, err.Error())
	}
	return err
}

func serveAt(o *serveOptions) error {
	path := o.socket
	switch {
	case path != "":
	case o.system:
		path = sharing.SystemSocket
	default:
		path = client.DefaultSocket()
	}
	l, err := server.Passed()
	if l == nil && err == nil {
		l, err = listen(path, o.system)
	}
	if errors.Is(err, server.ErrRunning) && o.readyFD > 0 { // another verb was faster
		tellStarter(o.readyFD, sharing.Serving)
		return nil
	}
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if o.system {
		return serveUsers(o, l)
	}
	s := server.New(o.server())
	go func() {
		<-exit.Signals()
		_ = s.Close()
	}()
	if o.readyFD == 0 {
		show.Say(os.Stderr, "serving at %s", path)
		return s.Serve(l)
	}
	done, err := sharing.ToLog(path)
	if err != nil {
		return errors.Join(fmt.Errorf("serve: %w", err), l.Close())
	}
	defer done()
	tellStarter(o.readyFD, sharing.Serving)
	o.readyFD = 0
	return s.Serve(l)
}

// server are the options of a server, or of a worker.
func (o *serveOptions) server() server.Options {
	hold := o.hold
	if hold == 0 {
		hold = -1
	}
	return server.Options{Options: arbiter.Options{HoldLimit: hold, ControlLimit: o.control}, Version: version(), Idle: o.idle, Hang: o.hang}
}

// serveUsers is the server for all users: a front, and workers that this program is started
// as once more.
func serveUsers(o *serveOptions, l *net.UnixListener) error {
	front := server.NewFront(server.FrontOptions{
		Command: []string{"/proc/self/exe", "serve", "--hang", o.hang.String(), "--hold-limit", o.hold.String(), "--control-limit", o.control.String(), "--worker"},
		Env:     []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
	})
	go func() {
		<-exit.Signals()
		_ = front.Close()
	}()
	show.Say(os.Stderr, "serving all users at %s", l.Addr())
	return front.Serve(l)
}

// work is a worker's life.
func work(o *serveOptions) error {
	who, err := server.ParseIdentity(o.worker)
	if err != nil {
		return exit.Usage("--worker: %w", err)
	}
	return server.RunWorker(who, o.server())
}

// listen makes a server's socket. It makes only the folders that are ptracer's by their names: a
// folder that the user names is there, or its name is a mistake.
func listen(path string, system bool) (*net.UnixListener, error) {
	if path == sharing.SystemSocket || path == client.UserSocket(os.Getuid(), os.Getenv("XDG_RUNTIME_DIR")) {
		if err := server.MakeFolder(path, system); err != nil {
			return nil, err
		}
	}
	return server.Listen(path, system)
}

// tellStarter tells the process that has started the server something, once.
func tellStarter(fd int, text string) {
	f := os.NewFile(uintptr(fd), "starter")
	_, _ = f.WriteString(text)
	f.Close()
}
