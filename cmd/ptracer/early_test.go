package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// TestEarlySignal is one that comes while a job attaches: the attach ends.
func TestEarlySignal(t *testing.T) {
	open := func(ctx context.Context, _ *flags.Options, _ engine.Options) (engine.Session, int, error) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	if _, err := job.Start(watching(), open, io.Discard, nil, func(*event.Event) {}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "a signal came") {
		t.Errorf("%v", err)
	}
}
