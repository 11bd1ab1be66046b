package client

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// Two users that have nothing.
const nobody, other = 65534, 65533

func as(uid uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}

// inNamespace is a root of a user namespace of its own, without any user outside.
func inNamespace() *syscall.SysProcAttr {
	one := []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: one, GidMappings: one, Credential: &syscall.Credential{}}
}

// everywhere is a folder that all users may enter.
func everywhere(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ptracer-rights-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serveAll starts a server for all users.
func serveAll(t testing.TB) (socket string) {
	t.Helper()
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to become other users")
	}
	socket = filepath.Join(everywhere(t), "ptracer", "s")
	err := server.MakeFolder(socket, true)
	l, err2 := server.Listen(socket, true)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	f := newFront()
	end := make(chan error)
	go func() { end <- f.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(f.Close(), <-end); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return socket
}

// copyOf copies a program, with a mode.
func copyOf(t testing.TB, path string, mode os.FileMode) string {
	t.Helper()
	b, err := os.ReadFile(path)
	to := filepath.Join(everywhere(t), filepath.Base(path))
	if err == nil {
		err = errors.Join(os.WriteFile(to, b, 0o755), os.Chmod(to, mode))
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestRights asks a server that runs as root for processes that ptrace would not permit to the
// client, and for those that it would.
func TestRights(t *testing.T) {
	socket := serveAll(t)
	loop := fixture.Path(t, "loop")
	caps := as(nobody)
	caps.AmbientCaps = []uintptr{13} // CAP_NET_RAW
	for _, c := range []struct {
		name   string
		asker  *syscall.SysProcAttr
		target *syscall.SysProcAttr
		path   string
		want   string // which error; "": none
	}{
		{"one's own", as(nobody), as(nobody), loop, ""},
		{"root's", as(nobody), nil, loop, "user"},
		{"another's", as(nobody), as(other), loop, "user"},
		{"another's, by root", nil, as(other), loop, ""},
		{"of another group", as(nobody), &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: other}}, loop, "user"},
		{"not dumpable", as(nobody), as(nobody), copyOf(t, loop, 0o711), "dumpable"},
		{"not dumpable, by root", nil, as(nobody), copyOf(t, loop, 0o711), ""},
		{"with capabilities", as(nobody), caps, loop, "capability"},
		{"in a user namespace", as(nobody), inNamespace(), loop, "capability"}, // which its namespace gives it
		{"from within a user namespace", inNamespace(), as(nobody), loop, "namespace"},
		{"root's, by a namespace's root", inNamespace(), nil, loop, "namespace"},
		{"in a user namespace, by root", nil, inNamespace(), loop, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := launchAs(t, c.target, nil, c.path, "10", "0")
			a := newRemote(t, c.asker)
			b := a.do(request{Op: "attach", Socket: socket, ID: p.pid(), Text: "asker"})
			if (b.Err != "") != (c.want != "") || c.want != "" && !b.is(c.want) {
				t.Errorf("%s; want %q", b.Err, c.want)
			}
			if b.Err == "" {
				a.ok(request{Op: "register", Text: "work"})
			}
			if tracer := status(p.pid(), "TracerPid"); (tracer == "0") != (c.want != "") {
				t.Errorf("traced by %s", tracer)
			}
			p.goOn()
			if err := p.end(); err != nil {
				t.Error(err)
			}
			if b.Err == "" {
				if n := a.ok(request{Op: "hits", ID: 1}).N; n != 10 {
					t.Errorf("%d hits", n)
				}
			}
		})
	}
}

// TestOthersProcess has a tracer ask for another user's process with requests of each kind.
func TestOthersProcess(t *testing.T) {
	socket := serveAll(t)
	own, roots := launchAs(t, as(nobody), nil, fixture.Path(t, "loop"), "10", "0"), launch(t, "loop", "10", "0")
	root := dial(t, socket, roots.pid())
	a := newRemote(t, as(nobody))
	a.ok(request{Op: "attach", Socket: socket, ID: own.pid(), Text: "asker"})
	for _, op := range []string{"add", "interrupt", "interrupt task", "resume task", "step", "write", "control", "kill"} {
		if b := a.do(request{Op: op, ID: roots.pid()}); b.Err == "" {
			t.Errorf("%s: allowed", op)
		}
	}
	if err := root.Interrupt(roots.pid()); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"resume", "resume task", "step", "write"} {
		if b := a.do(request{Op: op, ID: roots.pid()}); b.Err == "" {
			t.Errorf("%s of what root holds: allowed", op)
		}
	}
	if tasks, err := root.Tasks(roots.pid()); err != nil || !tasks[0].Stopped {
		t.Errorf("%+v, %v", tasks, err)
	}
	if list := a.ok(request{Op: "tracers", Socket: socket}); list.N != 1 {
		t.Errorf("sees %d tracers, want its own", list.N)
	}
	if b := a.do(request{Op: "token", Socket: socket, Text: root.token}); !strings.Contains(b.Err, "no such tracer") {
		t.Errorf("with root's token: %q", b.Err)
	}
	same := newRemote(t, nil) // of the same user, even
	if b := same.do(request{Op: "token", Socket: socket, Text: root.token}); !strings.Contains(b.Err, "no such tracer") {
		t.Errorf("with another process's token: %q", b.Err)
	}
}

// TestSetuid has a process execute a program that is root's. Traced through a server for all users
// it runs without that privilege, even if root's tracer shares it: the kernel withholds the
// privilege from a process with a tracer that lacks it.
func TestSetuid(t *testing.T) {
	socket := serveAll(t)
	id, err := exec.LookPath("id")
	if err != nil {
		skip.Missing(t, "id")
	}
	suid := copyOf(t, id, os.ModeSetuid|0o755)
	out, err := exec.Command("findmnt", "-n", "-o", "OPTIONS", "-T", suid).Output()
	if err != nil || strings.Contains(string(out), "nosuid") {
		skip.Missing(t, "a file system with set-uid programs, and findmnt")
	}
	run := func(trace func(pid int)) string {
		p := launchAs(t, as(nobody), nil, "/bin/sh", "-c", "echo pid $$; read x; exec "+suid+" -u")
		trace(p.pid())
		p.goOn()
		if err := p.end(); err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(p.out.String())
	}
	if got := run(func(int) {}); got != "0" {
		t.Fatalf("untraced it runs as %q", got)
	}
	user := newRemote(t, as(nobody))
	for name, trace := range map[string]func(pid int){
		"user": func(pid int) {
			user.ok(request{Op: "attach", Socket: socket, ID: pid, Text: "user"})
			user.ok(request{Op: "register", Text: "libc:write", Force: true})
		},
		"root": func(pid int) {
			register(t, dial(t, socket, pid), engine.ProbeSpec{Location: "libc:write", Pending: true})
		},
		"both": func(pid int) {
			newRemote(t, as(nobody)).ok(request{Op: "attach", Socket: socket, ID: pid, Text: "user"})
			dial(t, socket, pid)
		},
	} {
		if got := run(trace); got != fmt.Sprint(nobody) {
			t.Errorf("traced by %s it runs as %q", name, got)
		}
	}
	if n := user.ok(request{Op: "hits", ID: 1}).N; n == 0 {
		t.Error("the user has counted no write of it")
	}
}

// TestStranger asks another user's server, which listens for all users: it serves only its own user
// and root.
func TestStranger(t *testing.T) {
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to become other users")
	}
	socket := serveAt(t, filepath.Join(everywhere(t), "ptracer", "s"), true, server.Options{})
	p := launchAs(t, as(nobody), nil, fixture.Path(t, "loop"), "1", "0")
	if b := newRemote(t, as(nobody)).do(request{Op: "attach", Socket: socket, ID: p.pid()}); !strings.Contains(b.Err, "the server is user 0's") {
		t.Errorf("served: %q", b.Err)
	}
	p.goOn()
}
