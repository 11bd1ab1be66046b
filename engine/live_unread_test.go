package engine

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// oneFile runs f while the process can open no more than one file at a time, as though it had all other
// descriptors open that it may: what lists the mappings can be read, and no object, which takes two.
func oneFile(t *testing.T, f func()) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	lowest := null.Fd()
	var old syscall.Rlimit
	if err := errors.Join(null.Close(), syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(lowest) + 1, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	f()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
}

// TestUnreadAgain: an object that can't be opened when what is loaded is looked at again is
// still there, and its sites are.
func TestUnreadAgain(t *testing.T) {
	for name, spec := range map[string]ProbeSpec{"jump": {}, "trap": {Rung: breakpoint.Slot}} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, "loop", "100")
			sess := attach(t, p.pid)
			s := sess.(*session)
			spec.Location = "loop:work"
			work := register(t, s, spec)
			s.look(func() {
				if err := s.objects.Cache.Close(); err != nil { // else it knows what it has opened
					t.Error(err)
				}
				proc := s.loop.Procs[p.pid]
				oneFile(t, func() { s.life.Rescan(proc) })
				if len(proc.Modules) < 3 || len(proc.Unread) > 0 {
					t.Errorf("%d modules, unread %v", len(proc.Modules), proc.Unread)
				}
			})
			p.goOn()
			if out, status := p.end(); status != 0 || said(t, out, "calls") != 100 {
				t.Errorf("it printed %q, status %d", out, status)
			}
			if n := s.Hits(work); n != 100 {
				t.Errorf("%d hits of 100 calls", n)
			}
		})
	}
}

// TestUnread: a location that may be in an object that could not be read has a place that failed, with
// the reason; once the object can be read it has the right one.
func TestUnread(t *testing.T) {
	p := launch(t, "loop", "100")
	sess, err := Attach(t.Context(), p.pid)
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Detach()
	s := sess.(*session)
	s.look(func() {
		if err := s.objects.Cache.Close(); err != nil {
			t.Error(err)
		}
		clear(s.loop.Procs[p.pid].Modules)
		oneFile(t, func() { s.life.Rescan(s.loop.Procs[p.pid]) })
	})
	_, err = s.Register(ProbeSpec{Location: "libc:malloc"})
	if err == nil || !errors.Is(err, objfile.ErrUnread) || !strings.HasSuffix(err.Error(), "libc.so.6: too many open files (raise 'ulimit -n')") {
		t.Errorf("a name that may be in what was not read: %v", err)
	}
	id := register(t, s, ProbeSpec{Location: "libc:malloc", Pending: true})
	if pls := s.Placements(id); len(pls) == 0 || !errors.Is(pls[0].Err, objfile.ErrUnread) {
		t.Errorf("one that may come: %v", pls)
	}
	s.look(func() { s.life.Rescan(s.loop.Procs[p.pid]) })
	if pls := s.Placements(id); len(pls) != 1 || pls[0].Err != nil {
		t.Errorf("once it can be read: %v", pls)
	}
	p.goOn()
	if out, status := p.end(); status != 0 {
		t.Errorf("it printed %q, status %d", out, status)
	}
}
