package client

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// workerAt is the worker process that serves root's requests about a process.
func workerAt(t testing.TB, socket string, pid int) ServerInfo {
	t.Helper()
	l, err := Dialer{Socket: socket}.dialFor(context.Background(), pid)
	if err != nil {
		t.Fatal(err)
	}
	defer l.conn.Close()
	return l.info
}

// TestWorker examines the worker of a user: it has that user's ids and none of root's rights, the
// user can't look into it or keep it stopped, and root's tracers of the user's process are in it.
func TestWorker(t *testing.T) {
	socket := serveAll(t)
	p := launchAs(t, as(nobody), nil, fixture.Path(t, "loop"), "300", "0")
	a := newRemote(t, as(nobody))
	a.ok(request{Op: "attach", Socket: socket, ID: p.pid(), Text: "user"})
	a.ok(request{Op: "register", Text: "work"})
	root := dial(t, socket, p.pid())
	w := workerAt(t, socket, p.pid())
	if want := fmt.Sprintf("%d:%d", nobody, nobody); w.Worker != want || root.info.PID != w.PID || status(p.tracer(), "Tgid") != strconv.Itoa(w.PID) {
		t.Errorf("worker %q, process %d, want %q; root's tracer is in process %d, the program's tracer is %d", w.Worker, w.PID, want, root.info.PID, p.tracer())
	}
	ids := fmt.Sprintf("%d\t%d\t%d\t%d", nobody, nobody, nobody, nobody)
	for key, want := range map[string]string{"Uid": ids, "Gid": ids, "Groups": "", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
		"CapInh": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1"} {
		if got := status(w.PID, key); got != want {
			t.Errorf("%s of the worker: %q, want %q", key, got, want)
		}
	}
	exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", w.PID))
	if err != nil || exe.Mode().Perm() != 0o711 || exe.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("its program: %v, %v; want root's, not to be read by others: so it is hidden from its beginning", exe.Mode(), err)
	}
	for _, file := range []string{"mem", "maps", "fd", "environ"} {
		if b := a.do(request{Op: "look", Text: fmt.Sprintf("/proc/%d/%s", w.PID, file)}); b.Err == "" {
			t.Errorf("its user may read %s", file)
		}
	}
	for range 20 {
		a.ok(request{Op: "signal", Text: strconv.Itoa(w.PID), ID: int(syscall.SIGSTOP)})
		if _, err := root.Tasks(p.pid()); err != nil {
			t.Fatal(err)
		}
	}
	count := register(t, root, engine.ProbeSpec{Location: "work"})
	p.goOn()
	if err := p.end(); err != nil {
		t.Error(err)
	}
	if n, m := root.Hits(count), a.ok(request{Op: "hits", ID: 1}).N; n != 300 || m != 300 {
		t.Errorf("root has counted %d, the user %d", n, m)
	}
}

// tracer is the thread that traces the program.
func (p *running) tracer() int {
	tid, _ := strconv.Atoi(status(p.pid(), "TracerPid"))
	return tid
}

// TestWorkerKilled kills a user's worker: that user's tracer is told, the program continues,
// another user's tracer is not affected, and the next tracer is served.
func TestWorkerKilled(t *testing.T) {
	socket := serveAll(t)
	loop := fixture.Path(t, "loop")
	p, q := launchAs(t, as(nobody), nil, loop, "500", "0"), launchAs(t, as(other), nil, loop, "400", "0")
	a, b := newRemote(t, as(nobody)), newRemote(t, as(other))
	for i, x := range []*remote{a, b} {
		x.ok(request{Op: "attach", Socket: socket, ID: []*running{p, q}[i].pid(), Text: "user"})
		x.ok(request{Op: "register", Text: "work"})
	}
	w := workerAt(t, socket, p.pid())
	if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := a.do(request{Op: "interrupt", ID: p.pid()}); !strings.Contains(e.Err, "server is gone") && !strings.Contains(e.Err, "no such tracer") { // by the next worker
		t.Errorf("its tracer is told %q", e.Err)
	}
	if list, err := (Dialer{Socket: socket}).Tracers(0); err != nil || len(list) != 1 || list[0].UID != other {
		t.Errorf("root is told of %v, %v; want the other user's tracer", list, err)
	}
	q.goOn()
	if err := q.end(); err != nil || b.ok(request{Op: "hits", ID: 1}).N != 400 {
		t.Errorf("the other user: %v, %d hits", err, b.ok(request{Op: "hits", ID: 1}).N)
	}
	next := newRemote(t, as(nobody))
	until(t, "the program is free", func() bool { return status(p.pid(), "TracerPid") == "0" })
	next.ok(request{Op: "attach", Socket: socket, ID: p.pid(), Text: "next"})
	next.ok(request{Op: "register", Text: "work"})
	p.goOn()
	if err := p.end(); err != nil {
		t.Error(err)
	}
	if n := next.ok(request{Op: "hits", ID: 1}).N; n != 500 {
		t.Errorf("the next tracer has counted %d", n)
	}
}

// TestRootsWorker traces what a user may not: root's own processes and those that are not dumpable
// are root's, and root's worker serves no other user.
func TestRootsWorker(t *testing.T) {
	socket := serveAll(t)
	loop := fixture.Path(t, "loop")
	for name, p := range map[string]*running{
		"root's":       launch(t, "loop", "7", "0"),
		"not dumpable": launchAs(t, as(nobody), nil, copyOf(t, loop, 0o711), "7", "0"),
		"capable":      launchAs(t, capable(nobody), nil, loop, "7", "0"),
	} {
		s := dial(t, socket, p.pid())
		if s.info.Worker != "root" || status(s.info.PID, "Uid") != "0\t0\t0\t0" {
			t.Errorf("%s: served by %q", name, s.info.Worker)
		}
		id := register(t, s, engine.ProbeSpec{Location: "work"})
		p.goOn()
		if err := p.end(); err != nil {
			t.Error(err)
		}
		if n := s.Hits(id); n != 7 {
			t.Errorf("%s: %d hits", name, n)
		}
	}
}

func capable(uid uint32) *syscall.SysProcAttr {
	a := as(uid)
	a.AmbientCaps = []uintptr{13} // CAP_NET_RAW
	return a
}

// TestFrontEnds ends a front, by Close and by SIGKILL: its workers detach from their processes and
// end, and the program continues.
func TestFrontEnds(t *testing.T) {
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to become other users")
	}
	for _, how := range []string{"asked", "killed"} {
		t.Run(how, func(t *testing.T) {
			socket := filepath.Join(everywhere(t), "s")
			front, in := startApart(t, "front", socket)
			p := launchAs(t, as(nobody), nil, fixture.Path(t, "loop"), "50", "0")
			a := newRemote(t, as(nobody))
			a.ok(request{Op: "attach", Socket: socket, ID: p.pid(), Text: "user"})
			a.ok(request{Op: "register", Text: "work"})
			w := workerAt(t, socket, p.pid())
			if how == "asked" {
				in.Close()
			} else if err := front.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			until(t, "the worker's end", func() bool { s := status(w.PID, "State"); return s == "" || s[0] == 'Z' })
			if tracer := p.tracer(); tracer != 0 {
				t.Errorf("traced by %d", tracer)
			}
			p.goOn()
			if err := p.end(); err != nil || p.said(t, "calls") != 50 {
				t.Errorf("the program: %v, %q", err, p.out.String())
			}
		})
	}
}

// TestWorkerIdle has a worker end when it has nothing to do, and an ending one serve a client that
// arrives then: no client notices.
func TestWorkerIdle(t *testing.T) {
	t.Setenv("PTRACER_TEST_IDLE", "1ms")
	socket := serveAll(t)
	p := launchAs(t, as(nobody), nil, fixture.Path(t, "loop"), "50", "0")
	a := newRemote(t, as(nobody))
	for i := range 30 {
		a.ok(request{Op: "attach", Socket: socket, ID: p.pid(), Text: "user"})
		w := workerAt(t, socket, p.pid())
		a.ok(request{Op: "close"})
		if i%10 == 0 {
			until(t, "the worker's end", func() bool { return status(w.PID, "State") == "" })
		}
	}
	p.goOn()
}

// TestPassed has a service manager make the socket.
func TestPassed(t *testing.T) {
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to become other users")
	}
	socket := filepath.Join(everywhere(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.File()
	if err == nil {
		err = os.Chmod(socket, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), partEnv+"=activated", "LISTEN_FDS=1")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{file}, os.Stderr
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := launchAs(t, as(nobody), nil, fixture.Path(t, "loop"), "5", "0")
	a := newRemote(t, as(nobody))
	a.ok(request{Op: "attach", Socket: socket, ID: p.pid(), Text: "user"})
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	p.goOn()
	if err := p.end(); err != nil {
		t.Error(err)
	}
}
