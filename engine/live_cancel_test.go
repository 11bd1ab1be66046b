package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/procfs"
)

// fuse is a context that is done when it has been asked a number of times: so a test ends
// what is in progress at each place that asks.
type fuse struct {
	context.Context
	left atomic.Int64
}

func newFuse(n int) *fuse {
	f := &fuse{Context: context.Background()}
	f.left.Store(int64(n))
	return f
}

func (f *fuse) Err() error {
	if f.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// free reports whether no task of a process is traced.
func free(t *testing.T, pid int) bool {
	tids, err := procfs.Tasks(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range tids {
		if procfs.Tracer(tid) != 0 {
			return false
		}
	}
	return true
}

// TestAttachCancelled ends an attach at each place where it can end: the program is as it was,
// and can be traced.
func TestAttachCancelled(t *testing.T) {
	p := launch(t, "threads", "3", "300")
	before, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid))
	n := 0
	for ; ; n++ {
		s, err := Attach(newFuse(n), p.pid)
		if err == nil {
			if err := s.Detach(); err != nil {
				t.Error(err)
			}
			break
		}
		var a *AttachError
		if s != nil || !errors.Is(err, context.Canceled) || !errors.As(err, &a) || a.PID != p.pid {
			t.Errorf("after %d: %v", n, err)
		}
		after, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid))
		if !free(t, p.pid) || string(before) != string(after) {
			t.Errorf("after %d: it is free: %t, its memory:\n%s\nit was\n%s", n, free(t, p.pid), after, before)
		}
	}
	if n < 3 {
		t.Errorf("an attach asks %d times", n)
	}
	s := attach(t, p.pid)
	id := register(t, s, ProbeSpec{Location: "work"})
	p.goOn()
	if out, _ := p.end(); s.Hits(id) != 900 || said(t, out, "calls") != 900 {
		t.Errorf("%d hits; %s", s.Hits(id), out)
	}
}

// TestAttachTimeout ends attaches to a running program at any moment.
func TestAttachTimeout(t *testing.T) {
	p := launch(t, "threads", "4", "3000000", "1000") // three seconds, at least
	p.goOn()
	rounds, cancelled := 0, 0
	for start := time.Now(); rounds < 60 && time.Since(start) < 2*time.Second; rounds++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(3000))*time.Microsecond)
		s, err := Attach(ctx, p.pid)
		switch {
		case err == nil:
			<-ctx.Done() // which does not end the session
			if tasks, err := s.Tasks(p.pid); err != nil || len(tasks) == 0 {
				t.Errorf("%v, %v", tasks, err)
			}
			if err := s.Detach(); err != nil {
				t.Error(err)
			}
		case errors.Is(err, context.DeadlineExceeded):
			cancelled++
		default:
			t.Error(err)
		}
		cancel()
		if !free(t, p.pid) {
			t.Errorf("it is traced still")
		}
	}
	t.Logf("%d of %d cancelled", cancelled, rounds)
	if out, _ := p.end(); said(t, out, "calls") != 4*3000000 {
		t.Errorf("%s", out)
	}
}

// TestStartCancelled ends a start at each place where it can end: the program has executed
// nothing, and is gone (which the package's leak check sees, too).
func TestStartCancelled(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	path, n := fixture.Path(t, "loop"), 0
	for ; ; n++ {
		s, err := Start(newFuse(n), Command{Path: path, Args: []string{"3"}, Stdout: in})
		if err == nil {
			pid := s.Processes()[0]
			if err := s.Kill(); err != nil {
				t.Error(err)
			}
			if e, ok := s.Exit(pid); !ok || e.Signal != 9 {
				t.Errorf("%+v, %t", e, ok)
			}
			break
		}
		if s != nil || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), path) {
			t.Errorf("after %d: %v", n, err)
		}
	}
	if n != 2 {
		t.Errorf("a start asks %d times", n)
	}
	in.Close()
	if n, err := out.Read(make([]byte, 1)); n != 0 {
		t.Errorf("a program has run: %v", err)
	}
}
