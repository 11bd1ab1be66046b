package client

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// Servers of benchmarks are processes of their own, as servers for shared tracing are.

// eachWay runs a benchmark directly, and through a server.
func eachWay(b *testing.B, f func(b *testing.B, attach func(pid int) engine.Session)) {
	b.Run("direct", func(b *testing.B) {
		f(b, func(pid int) engine.Session {
			s, err := engine.Attach(context.Background(), pid)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Detach() })
			return s
		})
	})
	b.Run("shared", func(b *testing.B) {
		socket := filepath.Join(b.TempDir(), "s")
		serveApart(b, socket)
		f(b, func(pid int) engine.Session { return dial(b, socket, pid) })
	})
}

// BenchmarkRequest measures a request that changes nothing in the program.
func BenchmarkRequest(b *testing.B) {
	eachWay(b, func(b *testing.B, attach func(int) engine.Session) {
		p := launch(b, "loop", "1")
		s := attach(p.pid())
		id := register(b, s, engine.ProbeSpec{Location: "work"})
		code := make([]byte, 16)
		addr := s.Placements(id)[0].Addr
		b.Run("memory", func(b *testing.B) {
			for b.Loop() {
				if err := s.ReadMemory(p.pid(), addr, code); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("hits", func(b *testing.B) {
			for b.Loop() {
				if n := s.Hits(id); n != 0 {
					b.Fatal(n)
				}
			}
		})
	})
}

// BenchmarkStop measures a hit that stops the program until its tracer, which is told, resumes it,
// and a hit that calls the tracer's function.
func BenchmarkStop(b *testing.B) {
	eachWay(b, func(b *testing.B, attach func(int) engine.Session) {
		b.Run("told", func(b *testing.B) {
			p := launch(b, "loop", strconv.Itoa(b.N))
			s := attach(p.pid())
			register(b, s, engine.ProbeSpec{Location: "work", Action: engine.ActionStop})
			b.ResetTimer()
			p.goOn()
			for range b.N {
				e, err := s.Poll(context.Background())
				if err != nil || e.Kind() != event.KindStopped {
					b.Fatalf("%+v, %v", e, err)
				}
				if err := s.Resume(e.TID); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("called", func(b *testing.B) {
			p := launch(b, "loop", strconv.Itoa(b.N))
			s := attach(p.pid())
			var calls atomic.Int64
			register(b, s, engine.ProbeSpec{Location: "work", Action: engine.ActionCall, Func: func(engine.Hit) { calls.Add(1) }})
			b.ResetTimer()
			finish(b, p)
			if calls.Load() != int64(b.N) {
				b.Errorf("%d calls of %d", calls.Load(), b.N)
			}
		})
	})
}

// finish lets a program run to its end.
func finish(b *testing.B, p *running) {
	b.Helper()
	p.goOn()
	if err := p.end(); err != nil {
		b.Fatal(err)
	}
}

// tracers are several tracers of one server, each with its own probe at the same place.
func tracers(b *testing.B, n int, p *running, spec engine.ProbeSpec) (list []*Session, ids []event.ProbeID) {
	b.Helper()
	socket := filepath.Join(b.TempDir(), "s")
	serveApart(b, socket)
	for range n {
		s := dial(b, socket, p.pid())
		list, ids = append(list, s), append(ids, register(b, s, spec))
	}
	return list, ids
}

// BenchmarkTracers measures a call that several tracers count, each with its own probe: all of them
// share one jump. With 0 tracers it is the call and the loop alone.
func BenchmarkTracers(b *testing.B) {
	for _, n := range []int{0, 1, 8, 64} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := launch(b, "loop", strconv.Itoa(b.N))
			list, ids := tracers(b, n, p, engine.ProbeSpec{Location: "work"})
			for i, s := range list {
				if pl := s.Placements(ids[i])[0]; pl.Rung != breakpoint.Jump {
					b.Logf("%v: %s", pl.Rung, pl.Reason)
				}
			}
			b.ResetTimer()
			finish(b, p)
			b.StopTimer()
			for i, s := range list {
				if got := s.Hits(ids[i]); got != uint64(b.N) {
					b.Errorf("tracer %d has counted %d of %d calls", i, got, b.N)
				}
			}
		})
	}
}

// BenchmarkEvents measures a hit that the server reports to each of several tracers: how many of
// these events arrive per second, in all, and how many do not.
func BenchmarkEvents(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := launch(b, "loop", strconv.Itoa(b.N))
			list, _ := tracers(b, n, p, engine.ProbeSpec{Location: "work", Action: engine.ActionTell, Args: make([]engine.Arg, 1)})
			var told atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for _, s := range list {
				all.Go(func() {
					for e := range s.Events(context.Background()) {
						if e.Kind() == event.KindHit {
							told.Add(1)
						}
					}
				})
			}
			p.goOn()
			all.Wait()
			report(b, told.Load(), int64(n*b.N)-told.Load())
		})
	}
}

// report reports how many have arrived, in all, and which part has not.
func report(b *testing.B, got, lost int64) {
	b.StopTimer()
	b.ReportMetric(float64(got)/b.Elapsed().Seconds(), "told/s")
	b.ReportMetric(100*float64(lost)/float64(got+lost), "lost-%")
}

// BenchmarkRecords measures a hit with a record for each of 8 tracers, in memory shared with the
// program: how many arrive per second, in all, and how many found no space. The pause is the
// program's own, some microseconds after every 1,000 hits.
func BenchmarkRecords(b *testing.B) {
	for _, pause := range []int{0, 500, 1000, 2000, 7600} {
		b.Run("pause-"+strconv.Itoa(pause), func(b *testing.B) { benchRecords(b, pause) })
	}
}

func benchRecords(b *testing.B, pause int) {
	p := launch(b, "short", "1", strconv.Itoa(b.N), strconv.Itoa(pause))
	const readers = 8
	socket := filepath.Join(b.TempDir(), "s")
	serveApart(b, socket)
	var told, lost atomic.Int64
	var all sync.WaitGroup
	for range readers {
		s := dial(b, socket, p.pid())
		h, err := s.OpenHandler(engine.HandlerSpec{Name: "record", Params: builtin.Params{Exprs: []string{"arg0"}, Ring: 1 << 20}})
		if err != nil {
			b.Fatal(err)
		}
		register(b, s, engine.ProbeSpec{Location: "pick", Handler: h})
		all.Go(func() {
			told.Add(drain(b, s, h))
			lost.Add(int64(h.Lost()))
			_ = h.Close()
		})
	}
	b.ResetTimer()
	p.goOn()
	all.Wait()
	if told.Load()+lost.Load() != int64(readers*b.N) {
		b.Errorf("%d records, %d lost, of %d hits", told.Load(), lost.Load(), b.N)
	}
	report(b, told.Load(), lost.Load())
}

// drain reads a handler's records until its session has ended and none are left.
func drain(b *testing.B, s *Session, h engine.Handler) (n int64) {
	for over := false; ; {
		_, err := h.Read(time.Now().Add(20 * time.Millisecond))
		switch {
		case err == nil:
			n++
		case !errors.Is(err, os.ErrDeadlineExceeded):
			b.Error(err)
			return n
		case over:
			return n
		default:
			select {
			case <-s.Done():
				over = true // records that arrived until then are read
			default:
			}
		}
	}
}
