package client

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/symbols"
)

// serve starts a server of the test and returns its socket.
func serve(t testing.TB, o server.Options) string {
	t.Helper()
	return serveAt(t, filepath.Join(t.TempDir(), "s"), false, o)
}

func serveAt(t testing.TB, socket string, all bool, o server.Options) string {
	t.Helper()
	err := server.MakeFolder(socket, all)
	l, err2 := server.Listen(socket, all)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	s := server.New(o)
	end := make(chan error)
	go func() { end <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-end); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return socket
}

func dial(t testing.TB, socket string, pid int, o ...engine.Options) *Session {
	t.Helper()
	s, err := Dialer{Socket: socket, Name: t.Name()}.Attach(context.Background(), pid, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ways are the two ways to a session: directly, and through a server.
func ways(t *testing.T, f func(t *testing.T, attach func(pid int, o ...engine.Options) engine.Session)) {
	t.Run("direct", func(t *testing.T) {
		f(t, func(pid int, o ...engine.Options) engine.Session {
			s, err := engine.Attach(context.Background(), pid, o...)
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
	t.Run("shared", func(t *testing.T) {
		socket := serve(t, server.Options{})
		f(t, func(pid int, o ...engine.Options) engine.Session { return dial(t, socket, pid, o...) })
	})
}

// TestSame: a session behaves the same either way.
func TestSame(t *testing.T) {
	var texts []string
	ways(t, func(t *testing.T, attach func(int, ...engine.Options) engine.Session) {
		p := launch(t, "loop", "50", "0")
		s := attach(p.pid(), engine.Options{Life: true})
		count := register(t, s, engine.ProbeSpec{Location: "work"})
		tell := register(t, s, engine.ProbeSpec{Location: "work", Action: engine.ActionTell, Args: make([]engine.Arg, 1)})
		calls := uint64(0)
		call := register(t, s, engine.ProbeSpec{Location: "work", Action: engine.ActionCall, Func: func(h engine.Hit) {
			if h.Location() != "loop:work" || h.PID() != p.pid() || h.Probe() != 3 {
				t.Errorf("hit of %s by %d, probe %d", h.Location(), h.PID(), h.Probe())
			}
			r := h.Registers()
			if v, _ := s.ISA().Arg(arch.C, &r, 0); v != h.Arg(0) {
				t.Errorf("argument %d, %d", v, h.Arg(0))
			}
			calls++
		}})
		if _, err := s.Register(engine.ProbeSpec{Location: "no_such"}); !errors.Is(err, symbols.ErrNotFound) {
			t.Errorf("no_such: %v", err)
		}
		if err := s.Unregister(99); !errors.Is(err, engine.ErrNoProbe) {
			t.Error(err)
		}
		p.goOn()
		<-s.Done()
		var told []string
		for e := range s.Events(context.Background()) {
			switch b := e.Body.(type) {
			case *event.Hit:
				told = append(told, b.Location)
				if b.Probe != tell || b.NArgs != 1 {
					t.Errorf("told %+v", b)
				}
			case *event.Exit:
				told = append(told, "exit"+b.Text)
			case *event.Warning:
				told = append(told, "warning"+b.Text)
			}
		}
		if s.Hits(count) != 50 || s.Hits(tell) != 50 || s.Hits(call) != 50 || calls != 50 {
			t.Errorf("%d, %d, %d hits, %d calls", s.Hits(count), s.Hits(tell), s.Hits(call), calls)
		}
		places := s.Placements(0)
		for i := range places {
			places[i].PID, places[i].Addr = 0, 0
		}
		e, ok := s.Exit(p.pid())
		text, err := json.Marshal([]any{told, places, e, ok})
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
		if err := s.Detach(); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.Stops == 0 {
			t.Errorf("stats %+v", st)
		}
	})
	if d := cmp.Diff(texts[0], texts[1]); d != "" {
		t.Error(d)
	}
}

// TestSteer stops a thread at a probe, inspects and changes it, and resumes it, while another
// tracer counts.
func TestSteer(t *testing.T) {
	ways(t, func(t *testing.T, attach func(int, ...engine.Options) engine.Session) {
		p := launch(t, "loop", "20", "0")
		s := attach(p.pid())
		var other engine.Session
		if strings.HasSuffix(t.Name(), "shared") {
			other = attach(p.pid())
			register(t, other, engine.ProbeSpec{Location: "work"})
		}
		register(t, s, engine.ProbeSpec{Location: "work", Action: engine.ActionStop, Args: make([]engine.Arg, 1)})
		p.goOn()
		for range 20 {
			steer(t, s)
		}
		<-s.Done()
		if other != nil && other.Hits(1) != 20 {
			t.Errorf("the other has counted %d", other.Hits(1))
		}
		if e, ok := s.Exit(p.pid()); !ok || e != (engine.Exit{}) {
			t.Errorf("ended by %+v", e)
		}
	})
}

// steer takes one stop.
func steer(t *testing.T, s engine.Session) {
	t.Helper()
	e, err := s.Poll(context.Background())
	at, ok := e.Body.(*event.Stopped)
	if err != nil || !ok {
		t.Fatalf("%+v, %v", e, err)
	}
	r, err := s.Registers(e.TID)
	if err != nil || arch.Addr(r[s.ISA().PCReg()]) != at.Addr {
		t.Errorf("at %#x, %v; want %v", r[s.ISA().PCReg()], err, at.Addr)
	}
	tasks, err := s.Tasks(e.PID)
	if err != nil || len(tasks) != 1 || !tasks[0].Stopped || tasks[0].PC != at.Addr {
		t.Errorf("%+v, %v", tasks, err)
	}
	code := make([]byte, 16)
	if err := s.ReadMemory(e.PID, at.Addr, code); err != nil || code[0] == 0xcc {
		t.Errorf("code % x, %v", code, err)
	}
	sp := arch.Addr(r[s.ISA().SPReg()]) - 4096
	if err := s.WriteMemory(e.PID, sp, []byte("hello")); err != nil {
		t.Error(err)
	}
	got := make([]byte, 5)
	if err := s.ReadMemory(e.PID, sp, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if err := s.SetRegisters(e.TID, r); err != nil {
		t.Error(err)
	}
	if y, ok := s.Symbolize(e.PID, at.Addr); !ok || y.Function != "work" {
		t.Errorf("%+v", y)
	}
	if err := s.ReadMemory(e.PID, 8, got); err == nil {
		t.Error("address 8 can be read")
	}
	if err := s.Resume(e.TID); err != nil {
		t.Error(err)
	}
}

// TestResults: handlers have the same results, and their records are read, either way.
func TestResults(t *testing.T) {
	var all []map[string]string
	ways(t, func(t *testing.T, attach func(int, ...engine.Options) engine.Session) {
		p := launch(t, "loop", "5000", "0")
		s := attach(p.pid())
		specs := map[string]builtin.Params{
			"count":  {Guards: builtin.Guards{Filter: "arg0 % 2 == 0", Hits: 1000}},
			"hist":   {Exprs: []string{"arg0 & 0xff"}},
			"record": {Exprs: []string{"arg0"}, Ring: 1 << 20},
			"stacks": {},
		}
		handlers := map[string]engine.Handler{}
		for name, params := range specs {
			h, err := s.OpenHandler(engine.HandlerSpec{Name: name, Params: params})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			handlers[name] = h
			register(t, s, engine.ProbeSpec{Location: "work", Handler: h})
		}
		p.goOn()
		n := 0
		for ; n < 5000; n++ {
			record, err := handlers["record"].Read(time.Now().Add(20 * time.Second))
			if err == nil {
				_, err = handlers["record"].Decode(record)
			}
			if err != nil {
				t.Fatalf("record %d: %v", n, err)
			}
		}
		<-s.Done()
		if _, err := handlers["record"].Read(time.Now()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the last record: %v", err)
		}
		results := map[string]string{"limits": ""}
		for _, l := range handlers["count"].Limits() {
			b, _ := json.Marshal(l)
			results["limits"] += string(b)
		}
		for name, h := range handlers {
			if name != "stacks" && name != "record" {
				results[name] = resultOf(t, h)
			}
			if i := h.Info(); i.Name != name || i.Steps == 0 || i.Failures != 0 {
				t.Errorf("%+v", i)
			}
			if err := h.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if name == "hist" && resultOf(t, h) != results[name] {
				t.Errorf("closed: %s", resultOf(t, h))
			}
			if err := h.Close(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("closed twice: %v", err)
			}
		}
		all = append(all, results)
	})
	if d := cmp.Diff(all[0], all[1]); d != "" {
		t.Error(d)
	}
}

func resultOf(t *testing.T, h engine.Handler) string {
	t.Helper()
	r, err := h.Result()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTwo has two tracers share a process: each sees only its own, and the end of one does not end
// the other.
func TestTwo(t *testing.T) {
	socket := serve(t, server.Options{})
	p := launch(t, "loop", "1000", "0")
	a, b := dial(t, socket, p.pid()), dial(t, socket, p.pid())
	if o := b.Others(); len(o) != 1 || o[0].Name != t.Name() || o[0].PID != os.Getpid() {
		t.Errorf("others: %+v", o)
	}
	register(t, a, engine.ProbeSpec{Location: "work", Action: engine.ActionStop})
	n := register(t, b, engine.ProbeSpec{Location: "work"})
	p.goOn()
	if _, err := a.Poll(context.Background()); err != nil {
		t.Fatal(err)
	}
	list, err := Dialer{Socket: socket}.Tracers(p.pid())
	if err != nil || len(list) != 2 || len(list[0].Holds) != 1 || !slices.Equal(list[1].Probes, []string{"work"}) {
		t.Errorf("%+v, %v", list, err)
	}
	list, err = Dialer{Socket: socket}.Hits(p.pid())
	if err != nil || len(list) != 2 || !slices.Equal(list[1].Probes, []string{"loop:work"}) {
		t.Errorf("with hits: %+v, %v", list, err)
	}
	if err := b.Control(t.Context(), p.pid(), arbiter.Ask{Time: time.Minute}); err != nil {
		t.Error(err)
	}
	if err := a.WriteMemory(p.pid(), 0, []byte{1}); !errors.Is(err, arbiter.ErrControl) {
		t.Errorf("wrote under another's control: %v", err)
	}
	if err := b.Yield(p.pid()); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil { // to the server this is a death
		t.Error(err)
	}
	<-b.Done()
	if got := b.Hits(n); got != 1000 {
		t.Errorf("%d hits, want 1000", got)
	}
	if err := b.Resume(p.pid()); err == nil {
		t.Error("resumed what has ended")
	}
}

// TestIdle has an unused server end.
func TestIdle(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := server.Listen(socket, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.New(server.Options{Idle: time.Millisecond}).Serve(l); err != nil {
		t.Error(err)
	}
}

func register(t testing.TB, s engine.Session, spec engine.ProbeSpec) event.ProbeID {
	t.Helper()
	id, err := s.Register(spec)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestAttach attaches as the package's documentation shows: through the server at the
// default socket, which the environment names.
func TestAttach(t *testing.T) {
	t.Setenv(SocketEnv, serve(t, server.Options{}))
	p := launch(t, "loop", "50", "0")
	s, err := Attach(context.Background(), p.pid())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := register(t, s, engine.ProbeSpec{Location: "work"})
	p.goOn()
	<-s.Done()
	if n := s.Hits(id); n != 50 {
		t.Errorf("%d hits of 50", n)
	}
	t.Setenv(SocketEnv, filepath.Join(t.TempDir(), "none"))
	if _, err := Attach(context.Background(), os.Getpid()); !errors.Is(err, ErrNoServer) {
		t.Errorf("without a server: %v", err)
	}
}
