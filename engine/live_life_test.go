package engine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// TestLife counts in tasks that come and go, with their children and without.
func TestLife(t *testing.T) {
	for _, c := range []struct {
		fixture, args string
		own, all      uint64 // calls of the process itself; with its children
	}{
		{"life", "spawn 3 50", 150, 300},
		{"life", "clonevm 3 50", 150, 300},
		{"life", "threads 5 50", 500, 500},
		{"life", "exec 1 50", 100, 100}, // the process goes on as another program
		{"life", "leader 4 50", 200, 200},
		{"life", "tree 3 50", 50, 200},
		{"forker", "fork 3 50", 150, 300},
		{"forker", "vfork 3 50", 300, 300}, // the child's memory is the parent's: see below
		{"forker", "exec 3 50", 150, 300},
	} {
		for _, i := range pace([]int{0, 1, 2, 3}, []int{0, 3}) {
			follow, rung := i%2 == 1, []breakpoint.Rung{breakpoint.Slot, breakpoint.Auto}[i/2]
			t.Run(fmt.Sprintf("%s-%s-%v-%v", c.fixture, c.args, follow, rung), func(t *testing.T) {
				args := strings.Fields(c.args)
				want, wantStatus := alone(t, c.fixture, args...)
				p := launch(t, c.fixture, args...)
				s := attach(t, p.pid, Options{Follow: follow, Life: true})
				id := register(t, s, ProbeSpec{Location: "work", Rung: rung})
				p.goOn()
				out, status := p.end()
				if unpid(out) != unpid(want) || status != wantStatus {
					t.Errorf("%q, status %d, want %q, %d", out, status, want, wantStatus)
				}
				hits := c.own
				switch {
				case follow:
					hits = c.all
				case rung == breakpoint.Auto && jump.Enabled && (args[0] == "clonevm" || args[0] == "vfork"):
					hits = c.all // a child in the process's memory takes the jumps, too
				case args[0] == "vfork":
					hits = c.own / 2
				}
				if got := s.Hits(id); got != hits {
					t.Errorf("%d hits, want %d", got, hits)
				}
			})
		}
	}
}

// TestLifeEvents has the life of a process told in its order.
func TestLifeEvents(t *testing.T) {
	for args, want := range map[string]string{
		"forker fork 2 3":    "fork exit fork exit exit",
		"forker vfork 2 3":   "fork exit fork exit exit",
		"forker exec 1 3":    "fork exec exit exit",
		"life spawn 1 3":     "fork exec exit exit",
		"life clonevm 2 3":   "fork exit fork exit exit",
		"life threads 3 3":   "clone clone clone exit",
		"life exec 1 3":      "clone exec exit",
		"life leader 2 3":    "clone clone exit",
		"traps default 1":    "exit",
		"traps-static die 1": "exit",
	} {
		t.Run(args, func(t *testing.T) {
			f := strings.Fields(args)
			p := launch(t, f[0], f[1:]...)
			s := attach(t, p.pid, Options{Follow: true, Life: true})
			register(t, s, ProbeSpec{Location: "work"})
			p.goOn()
			_, status := p.end()
			var got []string
			var last event.Event
			for e := range s.Events(t.Context()) {
				if k := e.Kind(); k != event.KindLibrary && k != event.KindUnload {
					got = append(got, k.String())
					last = e
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("got %q, want %q", got, want)
			}
			how, is := last.Body.(*event.Exit)
			if e, ok := s.Exit(p.pid); !ok || !is || e.Code() != status || last.PID != p.pid || how.Signal != e.Signal || how.Status != e.Status {
				t.Errorf("exit %+v, %v; last event %+v, %+v; want status %d", e, ok, last, how, status)
			}
		})
	}
}

// TestEndMeanwhile has another thread end the process while its first thread makes a system call
// for the tracer. The kernel tells the first thread's end last.
func TestEndMeanwhile(t *testing.T) {
	p := launch(t, "life", "last")
	p.goOn()
	until(t, "two threads", func() bool {
		list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid))
		return len(list) == 2
	})
	s := attach(t, p.pid).(*session)
	called := make(chan error)
	go func() {
		called <- s.loop.Do(func() error {
			first := s.loop.Tasks[p.pid]
			if err := s.loop.Halt(first); err != nil {
				return err
			}
			_, err := s.remote.Call(first, unix.SYS_PPOLL, 0, 0, 0, 0)
			return err
		})
	}()
	until(t, "the call", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", p.pid))
		return procfs.State(p.pid) == 'S' && strings.HasPrefix(string(b), strconv.Itoa(unix.SYS_PPOLL)+" ")
	})
	p.goOn()
	if err := <-called; !ptrace.IsGone(err) {
		t.Error(err)
	}
	if _, status := p.end(); status != 4 {
		t.Errorf("status %d", status)
	}
}

// TestReleased looks at a child that is not followed, and at its parent. The child has nothing of
// ptracer's, and the parent has all its hits.
func TestReleased(t *testing.T) {
	for _, mode := range []string{"hold", "holdexec"} {
		t.Run(mode, func(t *testing.T) {
			p := launch(t, "life", mode, "1", "50")
			text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
			s := attach(t, p.pid)
			id := register(t, s, ProbeSpec{Location: "work+*"})
			first := s.Placements(id)[0]
			p.goOn()
			child := 0
			until(t, "the child waits", func() bool {
				child = childOf(p.pid)
				return child != 0 && inRead(child)
			})
			isClean(t, child, text, caught)
			p.goOn()
			if out, status := p.end(); status != 0 || !strings.Contains(out, "status 0") {
				t.Errorf("%q, status %d", out, status)
			}
			if got := s.Placements(id)[0]; got.Hits != 50 || got.Addr != first.Addr {
				t.Errorf("%d hits of the parent, want 50", got.Hits)
			}
		})
	}
}

// TestForkMeanwhile has a program fork while probes come and go in it. A child has what its parent
// had at the fork, which is not what the parent has when the tracer hears of it.
func TestForkMeanwhile(t *testing.T) {
	for _, follow := range []bool{true, false} {
		t.Run(fmt.Sprintf("follow-%v", follow), func(t *testing.T) {
			rounds := pace(150, 20)
			args := []string{"fork", fmt.Sprint(rounds), "50"}
			want, wantStatus := alone(t, "forker", args...)
			p := launch(t, "forker", args...)
			s := attach(t, p.pid, Options{Follow: follow})
			id := register(t, s, ProbeSpec{Location: "work"})
			p.goOn()
			turns := 0
			for err := error(nil); !errors.Is(err, ErrEnded); turns++ {
				err = comeAndGo(s, turns)
			}
			out, status := p.end()
			if unpid(out) != unpid(want) || status != wantStatus {
				t.Errorf("%q, status %d, want %q, %d", out, status, want, wantStatus)
			}
			hits := uint64(50 * rounds)
			if follow {
				hits *= 2
			}
			if got := s.Hits(id); got != hits {
				t.Errorf("%d hits, want %d, while others came and went %d times", got, hits, turns)
			}
		})
	}
}

// comeAndGo registers a probe for a moment, now and then with a handler.
func comeAndGo(s Session, turn int) error {
	spec := ProbeSpec{Location: []string{"libc:fork", "libc:*wait*", "libc:_exit", "libc:strlen"}[turn%4], Action: Action(turn % 2), Pending: true}
	if turn%3 == 0 {
		h, err := s.OpenHandler(HandlerSpec{Name: "latency"})
		if err != nil {
			return err
		}
		defer h.Close()
		spec.Action, spec.Handler = ActionCount, h
	}
	id, err := s.Register(spec)
	if err != nil {
		return err
	}
	return s.Unregister(id)
}
