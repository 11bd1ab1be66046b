package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/internal/skip"
)

// handlePart runs a built-in handler at a location until the process ends:
// PID LOCATION WHERE NAME EXPRESSION...
func handlePart(args []string) error {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	s, err := engine.Attach(pid)
	if err != nil {
		return err
	}
	defer s.Detach()
	where, err := handler.ParseWhere(args[2])
	if err != nil {
		return err
	}
	h, err := s.OpenHandler(engine.HandlerSpec{Name: args[3], Where: where, Params: builtin.Params{Exprs: args[4:]}})
	if err != nil {
		return err
	}
	defer h.Close()
	if _, err := s.Register(engine.ProbeSpec{Location: args[1], Handler: h}); err != nil {
		return err
	}
	records := make(chan uint64, 1)
	go func() { records <- drain(s, h) }()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fmt.Println("ready")
	<-s.Done()
	runtime.ReadMemStats(&after)
	hits := <-records
	if hits == 0 {
		if hits, err = told(h); err != nil {
			return err
		}
	}
	if each := float64(after.Mallocs-before.Mallocs) / float64(max(hits, 1)); hits > 1000 && each > 0.2 {
		return fmt.Errorf("%.2f allocations a hit", each)
	}
	fmt.Println("hits", hits)
	return nil
}

// drain reads records until the session is over; lost ones count.
func drain(s engine.Session, h engine.Handler) (n uint64) {
	for {
		_, err := h.Read(time.Now().Add(10 * time.Millisecond))
		switch {
		case err == nil:
			n++
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0 // there is no ring
		default:
			select {
			case <-s.Done():
				return n + h.Lost()
			default:
			}
		}
	}
}

// told is how many hits a handler's result is about.
func told(h engine.Handler) (uint64, error) {
	r, err := h.Result()
	if err != nil {
		return 0, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	var n struct {
		Hits, Count uint64
		Stacks      []struct{ Count uint64 }
	}
	err = json.Unmarshal(b, &n)
	for _, s := range n.Stacks {
		n.Count += s.Count
	}
	return max(n.Hits, n.Count), err
}

// handlersAt are the handlers that are measured.
var handlersAt = []struct {
	label string
	args  []string
}{
	{"count", []string{"count"}},
	{"hist arg0", []string{"hist", "arg0"}},
	{"record arg0 arg1", []string{"record", "arg0", "arg1"}},
	{"latency", []string{"latency"}},
	{"stacks", []string{"stacks"}},
}

// TestHandlers measures handlers in each executor, beside the engine's own
// counting.
func TestHandlers(t *testing.T) {
	amd64Only(t)
	table := results.add(&table{Title: "A hit that runs a handler", Unit: "ns, less what the call costs"})
	c := hitCase{first: "body", threads: 1} // room for entry and exit
	plain := contender{name: rowEngine, calls: length(20000, 300), attach: byEngine()}
	for range turns(9) {
		t.Run(rowEngine, func(t *testing.T) { table.add("engine, no handler", "count", plain.measure(t, c)) })
		for _, h := range handlersAt[:4] { // those that run in the program
			x := contender{name: "tracee", calls: length(50_000_000, 30_000), attach: byHandler(handler.Tracee, h.args)}
			t.Run("tracee/"+h.label, func(t *testing.T) { table.add("tracee", h.label, x.measure(t, c)) })
		}
		for _, where := range []handler.Where{handler.Engine, handler.Kernel} {
			if where == handler.Kernel && kernel.Available() != nil {
				skip.Missing(t, "eBPF in the kernel")
			}
			for _, h := range handlersAt {
				x := contender{name: where.String(), calls: length(20000, 300), attach: byHandler(where, h.args)}
				t.Run(fmt.Sprintf("%v/%s", where, h.label), func(t *testing.T) { table.add(where.String(), h.label, x.measure(t, c)) })
			}
		}
	}
}

func byHandler(where handler.Where, args []string) func(testing.TB, hitCase, *process) (int, func() float64) {
	return byTracer(func(t testing.TB, c hitCase, p *process) *exec.Cmd {
		cmd := engineCommand(t, "handle", p.pid, "hit_"+c.first)
		cmd.Args = append(append(cmd.Args, where.String()), args...)
		return cmd
	})
}
