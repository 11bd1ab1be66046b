package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/engine/handler"
)

// systemSocket is where the server for all users is.
const systemSocket = "/run/ptracer/socket"

// idle is how long a server that was started for a verb waits for another tracer.
const idle = 5 * time.Second

// attach attaches to the first of a verb's processes, by a server that others can
// share, which may have to be started; what a server can't do is done directly.
func attach(opt *options, eo engine.Options) (engine.Session, error) {
	if opt.direct || opt.resident || opt.where == handler.Kernel {
		return engine.Attach(opt.pids[0], eo)
	}
	pid := opt.pids[0]
	d := client.Dialer{Socket: socketOf(pid), Name: opt.name, Start: startServer}
	s, err := d.Attach(pid, eo)
	var unreachable *noServer
	if errors.As(err, &unreachable) {
		fmt.Fprintf(os.Stderr, "ptracer: %v: no other tracer can share the process\n", err)
		return engine.Attach(pid, eo)
	}
	if err != nil {
		return nil, err
	}
	if others := s.Others(); len(others) > 0 {
		fmt.Fprintf(os.Stderr, "ptracer: process %d is shared with %s\n", pid, tracerNames(others))
	}
	return s, nil
}

// socketOf is that of the server that traces a process, else of our own.
func socketOf(pid int) string {
	own := client.DefaultSocket()
	for _, socket := range []string{own, systemSocket} {
		if list, err := (client.Dialer{Socket: socket}).Tracers(pid); err == nil && len(list) > 0 {
			return socket
		}
	}
	return own
}

func tracerNames(list []arbiter.TracerInfo) string {
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = fmt.Sprintf("%s (process %d)", t.Name, t.PID)
	}
	return strings.Join(names, ", ")
}

// noServer is of a server that can't be started.
type noServer struct{ err error }

func (e *noServer) Error() string { return e.err.Error() }
func (e *noServer) Unwrap() error { return e.err }

// startServer runs 'ptracer serve' in the background and waits until it answers,
// or has failed.
func startServer(socket string) error {
	self, err := os.Executable()
	if err != nil {
		return &noServer{err}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return &noServer{err}
	}
	defer r.Close()
	cmd := exec.Command(self, "serve", "--socket", socket, "--idle", idle.String(), "--ready-fd", "3")
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		w.Close()
		return &noServer{err}
	}
	w.Close()
	go func() { _ = cmd.Wait() }()
	why := make([]byte, 1000)
	n, _ := r.Read(why)
	switch text := string(why[:n]); text {
	case serving:
		return nil
	case "":
		return &noServer{errors.New("it ended without a word")}
	default:
		return &noServer{errors.New(text)}
	}
}
