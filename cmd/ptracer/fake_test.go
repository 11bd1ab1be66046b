package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols"
)

// fake is a session of which a test says what is found and what happens. What
// it is asked to do is kept in calls.
type fake struct {
	engine.Session // what a verb has no business with
	mu             sync.Mutex
	calls          []string
	found          map[string][]engine.Placement // by location
	specs          []engine.ProbeSpec
	events         chan event.Event
	end            sync.Once
	exit           map[int]engine.Exit
	resumed        func(f *fake) // what happens when the program goes on
}

func newFake() *fake {
	return &fake{found: map[string][]engine.Placement{}, events: make(chan event.Event, 100), exit: map[int]engine.Exit{}}
}

// opener gives the fake to a verb; child is the process of a command.
func (f *fake) opener(child int) job.Opener {
	return func(context.Context, *flags.Options, engine.Options) (engine.Session, int, error) {
		return f, child, nil
	}
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fake) called(call string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.calls, call)
}

func (f *fake) Register(s engine.ProbeSpec) (event.ProbeID, error) {
	f.note("register %s", s.Location)
	if len(f.found[s.Location]) == 0 && !s.Pending {
		return 0, fmt.Errorf("%s: %w: did you mean work?", s.Location, symbols.ErrNotFound)
	}
	f.specs = append(f.specs, s)
	return event.ProbeID(len(f.specs)), nil
}

func (f *fake) Unregister(event.ProbeID) error { return nil }

func (f *fake) Begin(...event.ProbeID) (int64, error)  { f.note("begin"); return 1, nil }
func (f *fake) Finish(...event.ProbeID) (int64, error) { f.note("finish"); return 2_000_000_001, nil }

func (f *fake) Placements(id event.ProbeID) (list []engine.Placement) {
	for _, p := range f.found[f.specs[id-1].Location] {
		p.Probe = id
		list = append(list, p)
	}
	return list
}

func (f *fake) Events(ctx context.Context) iter.Seq[event.Event] {
	return func(yield func(event.Event) bool) {
		for e := range f.events {
			if !yield(e) {
				return
			}
		}
	}
}

func (f *fake) Resume(id int) error {
	f.note("resume %d", id)
	if f.resumed != nil {
		f.resumed(f)
	}
	return nil
}

func (f *fake) stop() error { f.end.Do(func() { close(f.events) }); return nil }

func (f *fake) Detach() error       { f.note("detach"); return f.stop() }
func (f *fake) Kill() error         { f.note("kill"); return f.stop() }
func (f *fake) Processes() []int    { return []int{os.Getpid()} }
func (f *fake) Stats() engine.Stats { return engine.Stats{} }

func (f *fake) Exit(pid int) (engine.Exit, bool) { e, ok := f.exit[pid]; return e, ok }

// noSuchPID is above every pid that Linux gives (PID_MAX_LIMIT).
const noSuchPID = 1 << 23

func placed(name string, pid int, hits uint64) engine.Placement {
	return engine.Placement{Name: name, PID: pid, Hits: hits, Rung: breakpoint.Slot}
}

func TestCountCommand(t *testing.T) {
	f := newFake()
	f.found["work"] = []engine.Placement{placed("x:work", 7, 3), placed("x:work", 8, 4)}
	f.exit[noSuchPID] = engine.Exit{Signal: 9}
	f.resumed = func(f *fake) { _ = f.stop() }
	var stderr bytes.Buffer
	err := count(&flags.Options{Locations: []string{"work"}, Command: []string{"x"}}, f.opener(noSuchPID), &stderr)
	if got, want := stderr.String(), "PROBE   HITS  METHOD\nx:work     7  trap+slot\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if got := report(err, &stderr); got != 137 {
		t.Errorf("exit status %d, want 137", got)
	}
	if !f.called("detach") {
		t.Error("not detached")
	}
}

func TestCountUnknown(t *testing.T) {
	for _, c := range []struct {
		name, location string
		child          int
		want           []string // of the error
		said           string
	}{
		{"anywhere", "wrok", 0, []string{"wrok", "did you mean work?", "LIB:wrok"}, ""},
		{"in a library that is not loaded", "libnone:f", 0, nil, "libnone is not loaded: waiting for it"},
		{"glob of libraries", "libnone*:f", 0, nil, "waiting for it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			f.found["work"] = []engine.Placement{placed("x:work", 7, 3)}
			var stderr bytes.Buffer
			opt := flags.Options{Locations: []string{"work", c.location}, PIDs: []int{7}, Duration: time.Millisecond}
			err := count(&opt, f.opener(0), &stderr)
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("error %v, want %q", err, w)
				}
			}
			if c.want == nil && err != nil {
				t.Error(err)
			}
			if c.want != nil && !f.called("kill") || c.want == nil && !f.called("detach") {
				t.Errorf("the session is left: %q", f.calls)
			}
			if !strings.Contains(stderr.String(), c.said) {
				t.Errorf("said %q, want %q", stderr.String(), c.said)
			}
		})
	}
}

func TestCountTellsFailures(t *testing.T) {
	f := newFake()
	bad := placed("x:bad", 7, 0)
	bad.Err = fmt.Errorf("at 0x10: %w", breakpoint.ErrForeign)
	worse := bad
	worse.Name, worse.Err = "x:worse", errors.Join(fmt.Errorf("at 0x20: %w", breakpoint.ErrForeign), nil)
	f.found["x:*"] = []engine.Placement{placed("x:work", 7, 3), bad, worse, placed("x:idle", 7, 0)}
	var stderr bytes.Buffer
	if err := count(&flags.Options{Locations: []string{"x:*"}, PIDs: []int{7}, Duration: time.Millisecond}, f.opener(0), &stderr); err != nil {
		t.Fatal(err)
	}
	const want = "PROBE   HITS  METHOD\nx:work     3  trap+slot\n1 of 2 places hit in 2s\n" +
		"ptracer: 2 places could not be probed: patched by another tool (2, first x:bad)\n"
	if got := stderr.String(); got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestCountTellsGaps(t *testing.T) {
	f := newFake()
	lost, more, bound := placed("x:lost", 7, 3), placed("x:more", 7, 2), placed("x:bound", 7, 0)
	lost.Gap, more.Gap, bound.Gap = "lost: since then", "lost: since then", "not bound"
	f.found["x:*"] = []engine.Placement{lost, bound, more}
	var stderr bytes.Buffer
	if err := count(&flags.Options{Locations: []string{"x:*"}, PIDs: []int{7}, Duration: time.Millisecond}, f.opener(0), &stderr); err != nil {
		t.Fatal(err)
	}
	const want = "ptracer: 2 places not fully counted: lost: since then (first x:lost)\n" +
		"ptracer: 1 place not fully counted: not bound (first x:bound)\n"
	if got := stderr.String(); !strings.HasSuffix(got, want) {
		t.Errorf("printed %q, want %q at its end", got, want)
	}
}

func TestWarnings(t *testing.T) {
	f := newFake()
	f.found["work"] = []engine.Placement{placed("x:work", 7, 3)}
	f.events <- event.Event{Body: &event.Warning{Text: "something"}}
	var stderr bytes.Buffer
	if err := count(&flags.Options{Locations: []string{"work"}, PIDs: []int{7}, Duration: time.Millisecond}, f.opener(0), &stderr); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stderr.String(), "ptracer: warning: something\n") {
		t.Errorf("printed %q", stderr.String())
	}
}

// TestFailedSession prints what was counted before the session failed, and ends with an
// error.
func TestFailedSession(t *testing.T) {
	f := newFake()
	f.found["work"] = []engine.Placement{placed("x:work", 7, 3)}
	f.events <- event.Event{Body: &event.Failed{Text: "something"}}
	out := filepath.Join(t.TempDir(), "out")
	var stderr bytes.Buffer
	err := count(&flags.Options{Locations: []string{"work"}, PIDs: []int{7}, Duration: time.Millisecond, Output: out}, f.opener(0), &stderr)
	var ended *exit.Ended
	if !errors.As(err, &ended) || ended.Status != exit.StatusFailed || !strings.HasPrefix(stderr.String(), "ptracer: something\n") {
		t.Errorf("%v, printed %q", err, stderr.String())
	}
	if table, err := os.ReadFile(out); err != nil || !strings.Contains(string(table), "x:work") {
		t.Errorf("the result: %q, %v", table, err)
	}
}

// refusing fails every write.
type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestBrokenOutputDetaches(t *testing.T) {
	f := newFake()
	f.found["work"] = []engine.Placement{placed("x:work", 7, 3)}
	f.events <- event.Event{PID: 7, TID: 7, Body: &event.Hit{Probe: 1, Location: "x:work"}}
	err := trace(&flags.Options{Locations: []string{"work"}, PIDs: []int{7}}, 0, f.opener(0), refusing{})
	if !errors.Is(err, syscall.EPIPE) || !f.called("detach") {
		t.Errorf("%v, calls %q; want a detach because of the pipe", err, f.calls)
	}
}

func TestProbesKillsCommand(t *testing.T) {
	f := newFake()
	p := placed("x:work", 7, 0)
	p.Addr, p.Reason = 0x1000, "why"
	f.found["work"] = []engine.Placement{p}
	var stdout, stderr bytes.Buffer
	opt := flags.Options{Locations: []string{"work"}, PIDs: []int{7}, Listing: true, JSON: true}
	if err := probes(&opt, false, f.opener(0), &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	const want = `{"probe":"x:work","pid":7,"addr":"0x1000","method":"trap+slot","reason":"why"}` + "\n"
	if stdout.String() != want || !f.called("kill") {
		t.Errorf("printed %q, calls %q; want %q and a kill", stdout.String(), f.calls, want)
	}
}

func TestDoctor(t *testing.T) {
	diagnose := func(pid int) []engine.Finding {
		return []engine.Finding{{Topic: "attach", OK: pid != 2, Text: fmt.Sprintf("%d & co", pid), Help: map[bool]string{true: "pray"}[pid == 2]}}
	}
	for _, c := range []struct {
		pids   []int
		json   bool
		want   string
		status int
	}{
		{nil, false, "ok       attach      0 & co\n", 0},
		{[]int{1, 2}, false, "ok       attach      1 & co\nproblem  attach      2 & co\n                     what helps: pray\n", 1},
		{[]int{2}, true, `{"pid":2,"topic":"attach","ok":false,"text":"2 & co","help":"pray"}` + "\n", 1},
	} {
		var b bytes.Buffer
		status := report(doctor(&b, c.pids, c.json, diagnose), &b)
		if b.String() != c.want || status != c.status {
			t.Errorf("%v: status %d, %q; want %d, %q", c.pids, status, b.String(), c.status, c.want)
		}
	}
}
