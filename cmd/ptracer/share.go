package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/procfs"
)

// systemSocket is where the server for all users is.
const systemSocket = "/run/ptracer/socket"

// attach attaches to the first of a verb's processes, by a server that others can
// share, which may have to be started; what a server can't do is done directly.
func attach(ctx context.Context, opt *options, eo engine.Options) (engine.Session, error) {
	pid := opt.pids[0]
	if opt.direct || opt.resident || opt.where == handler.Kernel {
		s, err := engine.Attach(ctx, pid, eo)
		return s, sharedError(pid, err)
	}
	d := serverOf(pid)
	d.Name, d.Start = opt.name, startServer
	s, err := d.Attach(ctx, pid, eo)
	var unreachable *noServer
	if errors.As(err, &unreachable) {
		say(os.Stderr, "%v: no other tracer can share the process", err)
		return engine.Attach(ctx, pid, eo)
	}
	if err != nil {
		return nil, err
	}
	tellShared(pid, s.Others())
	return s, nil
}

// tellShared says with whom a process is shared, if it is.
func tellShared(pid int, others []arbiter.TracerInfo) {
	if len(others) > 0 {
		say(os.Stderr, "process %d is shared with %s", pid, tracerNames(others))
	}
}

// addProcess adds one of a verb's further processes.
func addProcess(s engine.Session, pid int) error {
	if err := s.AddProcess(pid); err != nil {
		return err
	}
	if c, ok := s.(*client.Session); ok {
		others, _ := c.Sharing(pid)
		tellShared(pid, others)
	}
	return nil
}

// sharedError says with whom a process is shared that can't be had directly.
func sharedError(pid int, err error) error {
	if !errors.Is(err, engine.ErrTraced) {
		return err
	}
	if list, err2 := serverOf(pid).Tracers(pid); err2 == nil && len(list) > 0 {
		return fmt.Errorf("%w; it is shared by %s", err, tracerNames(list))
	}
	return err
}

// servers are those that we may reach: our own, and that for all. Root reaches the
// one of a process's owner, too, with pid 0 those of all users.
func servers(pid int) (list []client.Dialer) {
	list = []client.Dialer{{Socket: client.DefaultSocket()}, {Socket: systemSocket}}
	if os.Getuid() != 0 {
		return list
	}
	owners := []int{procfs.User(pid)}
	if pid == 0 {
		owners = nil
		names, _ := os.ReadDir("/run/user")
		for _, n := range names {
			uid, _ := strconv.Atoi(n.Name())
			owners = append(owners, uid)
		}
	}
	for _, uid := range owners {
		if uid > 0 {
			list = append(list, client.Dialer{Socket: client.UserSocket(uid, ""), Trust: []int{uid}, Patience: othersPatience})
		}
	}
	return list
}

// othersPatience is how long root waits for the server of a user, who may have put anything there.
const othersPatience = 2 * time.Second

// serverOf is the server that traces a process, else our own.
func serverOf(pid int) client.Dialer {
	all := servers(pid)
	for _, d := range all {
		if list, err := d.Tracers(pid); err == nil && len(list) > 0 {
			return d
		}
	}
	return all[0]
}

// tracerNames names tracers, each once.
func tracerNames(list []arbiter.TracerInfo) string {
	var names []string
	for _, t := range list {
		if name := fmt.Sprintf("%s (process %d)", t.Name, t.PID); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
