package client

import (
	"errors"
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

// nobody and other are users that have nothing.
const nobody, other = 65534, 65533

func as(uid uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}

// inNamespace is a root of a user namespace of its own, who is nobody outside.
func inNamespace() *syscall.SysProcAttr {
	one := []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: one, GidMappings: one, Credential: &syscall.Credential{}}
}

// everywhere is a folder that all may enter.
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

// serveAll starts a server for all users, with root's rights.
func serveAll(t testing.TB) (socket string) {
	t.Helper()
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to become other users")
	}
	return serveAt(t, filepath.Join(everywhere(t), "ptracer", "s"), true, server.Options{})
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

// TestRights asks a server that runs as root for processes that ptrace would not
// let the asker have, and for those that it would.
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
		{"in a user namespace", as(nobody), inNamespace(), loop, "namespace"},
		{"from within a user namespace", inNamespace(), as(nobody), loop, "namespace"},
		{"root's, by a namespace's root", inNamespace(), nil, loop, "user"},
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

// TestOthersProcess has a tracer ask for another user's process beside its own, by
// requests of each kind.
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

// TestSetuid has a traced process execute a program that is root's: the tracer of
// its user loses it before that runs, root's does not.
func TestSetuid(t *testing.T) {
	socket := serveAll(t)
	suid := copyOf(t, fixture.Path(t, "loop"), os.ModeSetuid|0o755)
	out, err := exec.Command("findmnt", "-n", "-o", "OPTIONS", "-T", suid).Output()
	if err != nil || strings.Contains(string(out), "nosuid") {
		skip.Missing(t, "a file system with set-uid programs, and findmnt")
	}
	p := launchAs(t, as(nobody), nil, "/bin/sh", "-c", "echo pid $$; read x; exec "+suid+" 20 0")
	pid := p.pid()
	a, root := newRemote(t, as(nobody)), dial(t, socket, pid)
	a.ok(request{Op: "attach", Socket: socket, ID: pid, Text: "user"})
	a.ok(request{Op: "register", Text: "work", Force: true})
	a.ok(request{Op: "register", Text: "loop:main", Force: true, Stop: true})
	count := register(t, root, engine.ProbeSpec{Location: "work", Pending: true})
	p.goOn()
	a.ok(request{Op: "wait for", Text: "warning"})
	if err := p.end(); err != nil || p.said(t, "calls") != 20 {
		t.Errorf("%v, %q", err, p.out.String())
	}
	<-root.Done()
	if n := root.Hits(count); n != 20 {
		t.Errorf("root has counted %d", n)
	}
	if n := a.ok(request{Op: "places"}).N; n != 0 {
		t.Errorf("the user's probes were at %d places", n)
	}
	for id := 1; id <= 2; id++ {
		if n := a.ok(request{Op: "hits", ID: id}).N; n != 0 {
			t.Errorf("the user has counted %d of probe %d", n, id)
		}
	}
}
