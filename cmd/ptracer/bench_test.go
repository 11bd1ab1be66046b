package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/bench"
	benchreport "github.com/ptracer/ptracer/bench/report"
)

// TestBenchInterrupt: a Ctrl-C ends the measuring, whose result is written.
func TestBenchInterrupt(t *testing.T) {
	var o benchOptions
	var out bytes.Buffer
	err := o.run(&out, io.Discard, func(ctx context.Context, _ bench.Options) (*benchreport.Report, error) {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			return nil, errors.New("it goes on")
		}
		return &benchreport.Report{Ended: "interrupted"}, nil
	})
	if err != nil || !strings.Contains(out.String(), "NOT COMPLETE: interrupted") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestBenchProgress: where there is no terminal a line comes now and then only.
func TestBenchProgress(t *testing.T) {
	var b bytes.Buffer
	p := benchProgress{w: &b}
	at := bench.Progress{Round: 1, Done: 3, Total: 80, What: "push, ptracer count", Left: 18600 * time.Millisecond}
	p.tell(at)
	p.tell(at)
	p.last = p.last.Add(-time.Minute)
	at.Round, at.Rounds = 2, 4
	p.tell(at)
	p.clear()
	const want = "ptracer: round 1, 3 of 80 measured, about 19s left: push, ptracer count\n" +
		"ptracer: round 2 of 4, 3 of 80 measured, about 19s left: push, ptracer count\n"
	if b.String() != want {
		t.Errorf("%q", b.String())
	}
}

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{"a-b": "a-b", "": "''", "*:*": "'*:*'", "it's": `'it'\''s'`, "6s": "6s", "a b": "'a b'"} {
		if got := quoted(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
