package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// sourced is a session whose functions have names of C++.
type sourced struct{ *named }

func (s sourced) open(context.Context, *flags.Options, engine.Options) (engine.Session, int, error) {
	return s, 0, nil
}

func (s sourced) Symbolize(_ int, at arch.Addr) (engine.Symbol, bool) {
	return engine.Symbol{Binary: "shop", Function: map[arch.Addr]string{1: "_ZN4shop4Cart3addEi"}[at]}, true
}

// sourcedSession has a place for "work", some for "w*", and two for "main", in two
// processes.
func sourcedSession(r build.Result) sourced {
	f := newFake()
	f.found["work"] = []engine.Placement{placed("x:work", 7, 3)}
	f.found["work%return"] = []engine.Placement{placed("x:work%return", 7, 3)}
	f.found["w*"] = []engine.Placement{placed("x:work", 7, 3)}
	f.found["main"] = []engine.Placement{placed("x:main", 7, 3), placed("y:main", 8, 3)}
	return sourced{&named{fake: f, result: r}}
}

// linesOf is what a verb writes to its file.
func linesOf(t *testing.T, opt flags.Options, run func(*flags.Options)) []string {
	t.Helper()
	opt.PIDs, opt.Duration, opt.Output = []int{7}, time.Millisecond, filepath.Join(t.TempDir(), "out")
	run(&opt)
	text, err := os.ReadFile(opt.Output)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("written %q, want %q", got, want)
	}
}

// TestPlaceNames has verbs with a result for each LOCATION call places as all verbs do.
func TestPlaceNames(t *testing.T) {
	s := sourcedSession(builtin.Counter{Hits: 3})
	opt := flags.Options{JSON: true, Locations: []string{"work", "work%return", "w*", "main"}}
	got := linesOf(t, opt, func(opt *flags.Options) { _ = job.Summarize(opt, engine.HandlerSpec{}, s.open, &bytes.Buffer{}, nil) })
	const rest = `,"hits":3,"seconds":2,"unread":1}`
	wantLines(t, got, []string{`{"probe":"x:work"` + rest, `{"probe":"x:work%return"` + rest, `{"probe":"w*"` + rest, `{"probe":"main"` + rest})
}

// TestPlaceNamesByProcess has what is about one process called as it is there.
func TestPlaceNamesByProcess(t *testing.T) {
	s := sourcedSession(&builtin.StackCounts{Stacks: []builtin.Stack{{PID: 8, Count: 5, Addrs: []arch.Addr{0x10}}, {PID: 9, Count: 1, Addrs: []arch.Addr{0x10}}}})
	opt := flags.Options{JSON: true, Locations: []string{"main"}}
	got := linesOf(t, opt, func(opt *flags.Options) {
		_ = job.Summarize(opt, engine.HandlerSpec{}, s.open, &bytes.Buffer{}, writeStacks)
	})
	wantLines(t, got, []string{
		`{"probe":"y:main","pid":8,"hits":5,"frames":[{"binary":"shop","addr":"0x10"}]}`,
		`{"probe":"main","pid":9,"hits":1,"frames":[{"binary":"shop","addr":"0x10"}]}`,
	})
}

// TestStackNames has stacks call functions as their source does.
func TestStackNames(t *testing.T) {
	stacks := &builtin.StackCounts{Stacks: []builtin.Stack{{PID: 7, Count: 5, Addrs: []arch.Addr{1, 0x10}}}}
	for _, c := range []struct {
		json bool
		want []string
	}{
		{false, []string{"[shop];shop::Cart::add(int) 5", "counted in 2s"}},
		{true, []string{`{"probe":"x:work","pid":7,"hits":5,"frames":[{"function":"shop::Cart::add(int)","binary":"shop","addr":"0x1"},{"binary":"shop","addr":"0x10"}]}`}},
	} {
		s := sourcedSession(stacks)
		got := linesOf(t, flags.Options{JSON: c.json, Locations: []string{"work"}}, func(opt *flags.Options) {
			result := writeStacks
			if !c.json {
				result = nil
			}
			_ = job.Summarize(opt, engine.HandlerSpec{}, s.open, &bytes.Buffer{}, result)
		})
		wantLines(t, got, c.want)
	}
}
