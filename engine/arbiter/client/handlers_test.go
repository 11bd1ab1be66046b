package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/fixture"
)

// counting is a user's own handler, which counts.
func counting(isa string) *build.Handler {
	ctx, err := program.ContextOf(isa)
	if err != nil {
		panic(err)
	}
	for _, k := range builtin.Kinds {
		if k.Name == "count" {
			h, err := k.Make(ctx, builtin.Params{})
			if err != nil {
				panic(err)
			}
			return h
		}
	}
	panic("no count")
}

// handlers are requests about handlers by name.
func handlers(a *agent, r request, b *answer) error {
	c, err := Dialer{Socket: r.Socket}.Registry()
	if err != nil {
		return err
	}
	defer c.Close()
	switch r.Op {
	case "name handler":
		return c.Register(r.Text, counting(a.s.ISA().Name()), handler.Mode(r.ID))
	case "replace handler":
		return c.Replace(r.Text, counting(a.s.ISA().Name()))
	case "remove handler":
		return c.Remove(r.Text)
	case "list handlers":
		_, open, err := c.List()
		b.Told = map[string]int{}
		for _, o := range open {
			b.Told[fmt.Sprint(o.Tracer, " ", o.Name)]++
		}
		return err
	case "read handler": // of the user with that id
		_, open, err := c.List()
		if err != nil {
			return err
		}
		for _, o := range open {
			if o.Name == r.Text && o.UID == uint32(r.ID) {
				if _, err := c.Read(o, a.s.ISA().Name()); err != nil {
					return err
				}
				return reopen(c, o)
			}
		}
		return errors.New("it is not listed")
	}
	return fmt.Errorf("no request %q", r.Op)
}

var errWritable = errors.New("the maps that it may read can be opened for writing")

// reopen tries to map for writing what was given for reading.
func reopen(r *Registry, o Opened) error {
	of, err := r.worker(context.Background(), o.Worker)
	if err != nil {
		return err
	}
	f, err := of.fetch(fmt.Sprintf("PTRACER READ %d %d\n", o.Tracer, o.Handler))
	if err != nil {
		return err
	}
	defer f.Close()
	if w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0); err == nil && os.Getuid() != 0 && os.Getuid() != int(o.UID) {
		w.Close()
		return errWritable
	}
	return nil
}

// TestModes has one user's handlers run and replaced by another user as far as their modes permit.
// Their user and root read the results.
func TestModes(t *testing.T) {
	socket := serveAll(t)
	agentOf := func(uid uint32) *remote {
		p := launchAs(t, as(uid), nil, fixture.Path(t, "loop"), "10", "0")
		a := newRemote(t, as(uid))
		a.ok(request{Op: "attach", Socket: socket, ID: p.pid(), Text: fmt.Sprint(uid)})
		return a
	}
	owner, stranger := agentOf(nobody), agentOf(other)
	root := newRemote(t, nil)
	root.ok(request{Op: "attach", Socket: socket, ID: launch(t, "loop", "1", "0").pid(), Text: "root"})
	names := []string{"private", "shared", "open", "count"}
	for i, mode := range []int{0o700, 0o711, 0o777, 0} {
		if mode != 0 {
			owner.ok(request{Op: "name handler", Socket: socket, Text: names[i], ID: mode})
		}
		owner.ok(request{Op: "open handler", Text: names[i]})
	}
	if b := stranger.do(request{Op: "name handler", Socket: socket, Text: "private", ID: 0o700}); !strings.Contains(b.Err, "there is a handler of that name") {
		t.Errorf("the same name again: %q", b.Err)
	}
	for _, c := range []struct {
		op, name string
		ok       bool // for a stranger
	}{
		{"open handler", "private", false},
		{"open handler", "shared", true},
		{"open handler", "open", true},
		{"replace handler", "private", false},
		{"replace handler", "shared", false},
		{"replace handler", "open", true},
		{"remove handler", "shared", false},
	} {
		b := stranger.do(request{Op: c.op, Socket: socket, Text: c.name})
		if (b.Err == "") != c.ok || !c.ok && !strings.Contains(b.Err, "not permitted") {
			t.Errorf("%s %s: %q, want it %v", c.op, c.name, b.Err, c.ok)
		}
	}
	for _, name := range names {
		read := request{Op: "read handler", Socket: socket, Text: name, ID: nobody}
		if b := stranger.do(read); b.Err == "" {
			t.Errorf("read %s: a stranger may", name)
		}
		root.ok(read)
		owner.ok(read)
	}
	for a, want := range map[*remote]int{owner: 4, stranger: 2, root: 6} {
		list := a.ok(request{Op: "list handlers", Socket: socket}).Told
		n := 0
		for _, k := range list {
			n += k
		}
		if n != want {
			t.Errorf("%d handlers that may be read, want %d: %v", n, want, list)
		}
	}
	if b := stranger.do(request{Op: "remove handler", Socket: socket, Text: "open"}); b.Err != "" {
		t.Error(b.Err)
	}
}

// TestRunHandler runs a handler once, on a stopped task, directly and through a server, and not
// while another tracer controls the process.
func TestRunHandler(t *testing.T) {
	var results []string
	ways(t, func(t *testing.T, attach func(int, ...engine.Options) engine.Session) {
		p := launch(t, "loop", "20", "0")
		s := attach(p.pid())
		if err := s.Interrupt(p.pid()); err != nil {
			t.Fatal(err)
		}
		spec := engine.HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}}}
		run, err := s.RunHandler(spec, p.pid(), 42)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, fmt.Sprint(run.Return, run.Output), resultText(t, run.Result))
		if _, err := s.RunHandler(spec, p.pid(), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10); err == nil {
			t.Error("ten arguments")
		}
		if _, err := s.RunHandler(engine.HandlerSpec{Name: "no such"}, p.pid()); err == nil {
			t.Error("no such handler")
		}
		if err := s.Detach(); err != nil {
			t.Error(err)
		}
	})
	if d := cmp.Diff(results[:2], results[2:]); d != "" {
		t.Error(d)
	}
	p := launch(t, "loop", "20", "0")
	socket := serve(t, server.Options{})
	a, b := dial(t, socket, p.pid()), dial(t, socket, p.pid())
	if err := errors.Join(a.Interrupt(p.pid()), b.Control(t.Context(), p.pid(), arbiter.Ask{})); err != nil {
		t.Fatal(err)
	}
	if _, err := a.RunHandler(engine.HandlerSpec{Name: "count"}, p.pid()); !errors.Is(err, arbiter.ErrControl) {
		t.Errorf("run under another's control: %v", err)
	}
}

func resultText(t *testing.T, r build.Result) string {
	t.Helper()
	var b strings.Builder
	if r == nil {
		t.Fatal("no result")
	}
	if err := r.Text(&b, 80); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
