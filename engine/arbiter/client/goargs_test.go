package client

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// TestGoArguments: the arguments of Go and C functions in a Func, in events and in records are the
// passed ones, whether the session is direct or at a server.
func TestGoArguments(t *testing.T) {
	ways(t, func(t *testing.T, attach func(int, ...engine.Options) engine.Session) {
		p := launch(t, "goargs", "3")
		s := attach(p.pid(), engine.Options{Life: true})
		var got []string
		call := func(where string, show func(h engine.Hit) string) {
			register(t, s, engine.ProbeSpec{Location: where, Action: engine.ActionCall, Func: func(h engine.Hit) {
				got = append(got, fmt.Sprint(h.Calls(), " ", show(h)))
			}})
		}
		call("main.ints", func(h engine.Hit) string { return fmt.Sprint(h.Arg(0), h.Arg(1), int(h.Arg(2))) })
		call("goargs:mix", func(h engine.Hit) string { return fmt.Sprint(h.Arg(0), h.Arg(1)) })
		call("hash/crc32.*astagnoli*.abi0", func(h engine.Hit) string {
			text := make([]byte, h.Arg(2))
			if err := h.ReadMemory(arch.Addr(h.Arg(1)), text); err != nil {
				t.Error(err)
			}
			return string(text)
		})
		tell := register(t, s, engine.ProbeSpec{Location: "main.(*box).put", Action: engine.ActionTell, Args: []engine.Arg{{}, {}, {Text: true}}})
		rec, err := s.OpenHandler(engine.HandlerSpec{Name: "record", Where: handler.Engine, Params: builtin.Params{Exprs: []string{"str(arg0)", "ret"}}})
		if err != nil {
			t.Fatal(err)
		}
		register(t, s, engine.ProbeSpec{Location: "main.name", Handler: rec})
		p.goOn()
		<-s.Done()
		var told, want, wantTold []string
		for e := range s.Events(context.Background()) {
			switch b := e.Body.(type) {
			case *event.Warning:
				t.Error(b.Text)
			case *event.Hit:
				if b.Probe == tell {
					told = append(told, fmt.Sprintf("%v %d %s", b.Calls, b.Args[1], b.Strings[2]))
				}
			}
		}
		for i := range 3 {
			want = append(want, fmt.Sprint("Go ", i, 2*i+1, -i), fmt.Sprintf("Go's stack assembly %d", i), fmt.Sprint("C ", 100+i, i))
			wantTold = append(wantTold, fmt.Sprintf("Go %d box %d", i+5, i))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(wantTold, told); diff != "" {
			t.Error(diff)
		}
		for i := range 3 {
			b, err := rec.Read(time.Now().Add(time.Second))
			if err != nil {
				t.Fatal(err)
			}
			r, err := rec.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if s := r.(*builtin.Event).Values[0].String(); !strings.Contains(s, fmt.Sprintf(`call\x00%d.`, i)) {
				t.Errorf("record %d: %s", i, s)
			}
		}
	})
}
