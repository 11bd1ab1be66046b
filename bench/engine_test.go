package bench

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
)

// The test binary is also the engine's process: its environment tells which
// part it is to play.
const partEnv = "PTRACER_BENCH_PART"

var parts = map[string]func(args []string) error{"count": countPart, "visit": visitPart, "handle": handlePart}

// countPart counts the hits of a location until the process ends, and fails if
// that took memory: PID LOCATION RUNG.
func countPart(args []string) error {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	s, err := engine.Attach(pid)
	if err != nil {
		return err
	}
	defer s.Detach()
	spec := engine.ProbeSpec{Location: args[1]}
	if len(args) > 2 {
		if spec.Rung, err = breakpoint.ParseRung(args[2]); err != nil {
			return err
		}
	}
	id, err := s.Register(spec)
	if err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fmt.Println("ready")
	<-s.Done()
	runtime.ReadMemStats(&after)
	hits := s.Hits(id)
	if each := float64(after.Mallocs-before.Mallocs) / float64(max(hits, 1)); hits > 1000 && each > 0.2 {
		return fmt.Errorf("%.2f allocations a hit", each)
	}
	fmt.Println("hits", hits)
	return nil
}

// visitPart attaches and plants a location's probes, and takes all away at a
// word from standard input; it says how long each took.
func visitPart(args []string) error {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	begin := time.Now()
	s, err := engine.Attach(pid)
	if err != nil {
		return err
	}
	defer s.Detach()
	attached := time.Now()
	id, err := s.Register(engine.ProbeSpec{Location: args[1]})
	if err != nil {
		return err
	}
	planted := time.Now()
	fmt.Println("ready attach", attached.Sub(begin).Nanoseconds(), "plant", planted.Sub(attached).Nanoseconds())
	for {
		line, err := in.ReadString('\n')
		begin := time.Now()
		switch strings.TrimSpace(line) {
		case "hits":
			fmt.Println("hits", s.Hits(id))
			continue
		case "remove":
			err = s.Unregister(id)
			fmt.Println("removed", time.Since(begin).Nanoseconds())
		default:
			if err == nil {
				err = s.Detach()
			}
			fmt.Println("detached", time.Since(begin).Nanoseconds())
			return err
		}
		if err != nil {
			return err
		}
	}
}

// engineCommand is the engine as a process of its own; under wrap, a command
// that changes what it may do.
func engineCommand(t testing.TB, part string, pid int, location string, wrap ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrap, self, strconv.Itoa(pid), location)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), partEnv+"="+part)
	return cmd
}
