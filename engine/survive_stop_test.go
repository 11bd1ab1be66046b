package engine

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine/event"
)

func init() { tracers["stops"] = stopForever }

// stopForever keeps tasks stopped for a while at each hit, and steps some of
// them, until it is killed.
func stopForever() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	fmt.Println("go")
	for n := 0; ; n++ {
		s, err := Attach(context.Background(), pid)
		if err != nil {
			return
		}
		for _, loc := range strings.Split(os.Getenv(probesEnv), " ") {
			_, _ = s.Register(ProbeSpec{Location: loc, Action: ActionStop, Pending: true})
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		for e := range s.Events(ctx) {
			if e.Kind() != event.KindStopped {
				continue
			}
			time.Sleep(time.Duration(e.Time%3) * 100 * time.Microsecond)
			for range n % 3 {
				_ = s.Step(e.TID)
			}
			_ = s.Resume(e.TID)
		}
		cancel()
		_ = s.Detach()
	}
}

// TestSurviveStops kills a tracer that keeps tasks stopped at probes. They must not go on behind a
// trap that no tracer knows of.
func TestSurviveStops(t *testing.T) {
	surviveAll(t, "threads", []string{"3", "40000", "1000"}, "stops", "libc:usleep libc:nanosleep libc:malloc")
	surviveAll(t, "gowork", []string{"3", "40000", "1000"}, "stops", "main.work runtime.usleep")
}
