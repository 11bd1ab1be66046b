// Package sharing finds the servers by which tracers share processes, starts one that a verb
// needs, and says which other tracers a process has.
package sharing

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/procfs"
)

// SystemSocket is where the server for all users is.
const SystemSocket = "/run/ptracer/socket"

// TellShared says which tracers a process is shared with, if it is.
func TellShared(pid int, others []arbiter.TracerInfo) {
	if len(others) > 0 {
		show.Say(os.Stderr, "process %d is shared with %s", pid, TracerNames(others))
	}
}

// AddProcess adds one of a verb's further processes.
func AddProcess(s engine.Session, pid int) error {
	if err := s.AddProcess(pid); err != nil {
		return err
	}
	if c, ok := s.(*client.Session); ok {
		others, _ := c.Sharing(pid)
		TellShared(pid, others)
	}
	return nil
}

// SharedError says which tracers share a process that can't be had directly.
func SharedError(pid int, err error) error {
	if !errors.Is(err, engine.ErrTraced) {
		return err
	}
	if list, err2 := ServerOf(pid).Tracers(pid); err2 == nil && len(list) > 0 {
		return fmt.Errorf("%w; it is shared by %s", err, TracerNames(list))
	}
	return err
}

// Servers are those that this user may reach: the user's own, and that for all. Root reaches the
// one of a process's owner, too, with pid 0 those of all users.
func Servers(pid int) (list []client.Dialer) {
	list = []client.Dialer{{Socket: client.DefaultSocket()}, {Socket: SystemSocket}}
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

// othersPatience is how long root waits for the server of a user, where anything may answer.
const othersPatience = 2 * time.Second

// ServerOf is the server that traces a process, else the user's own.
func ServerOf(pid int) client.Dialer {
	all := Servers(pid)
	for _, d := range all {
		if list, err := d.Tracers(pid); err == nil && len(list) > 0 {
			return d
		}
	}
	return all[0]
}

// TracerNames names tracers, each once.
func TracerNames(list []arbiter.TracerInfo) string {
	var names []string
	for _, t := range list {
		if name := fmt.Sprintf("%s (process %d)", t.Name, t.PID); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
