// Soak runs real servers under load while tracers come and go: it attaches, counts,
// draws histograms, records, leaves resident probes, and kills tracers, in random order and at
// random moments. After each round every process must be as it was: its code equal to
// its files, nothing of ptracer's mapped, no tracer, and no request failed.
//
//	go run ./internal/soak [-time 10m] [-seed N] [-servers nginx,redis] [-v]
//
// Servers that the machine does not have are named and left out. A round that finds
// something wrong ends the run with status 1; -seed with what was printed repeats the
// choices, though not the moments at which the machine carries them out.
//
// A load asks the servers on the loopback interface only, a bounded number of times a second.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	length := flag.Duration("time", 10*time.Minute, "how long")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random choices")
	only := flag.String("servers", "", "only these `NAMES`, divided by commas")
	verbose := flag.Bool("v", false, "print what each tracer said")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := &soak{rnd: rand.New(rand.NewPCG(*seed, 1)), verbose: *verbose}
	fmt.Printf("soak: -seed %d -time %v\n", *seed, *length)
	err := s.run(ctx, *length, *only)
	fmt.Printf("soak: %d rounds, %d tracers killed, %d requests answered\n", s.rounds, s.killed, s.answered())
	if err != nil {
		fmt.Printf("soak: WRONG: %v\nrepeat it by: go run ./internal/soak -seed %d -time %v\n", err, *seed, *length)
		os.Exit(1)
	}
}

// soak is one run.
type soak struct {
	rnd     *rand.Rand
	verbose bool
	dir     string
	ptracer string // the binary
	servers []*server
	rounds  int
	killed  int
}

func (s *soak) run(ctx context.Context, length time.Duration, only string) (err error) {
	if s.dir, err = os.MkdirTemp("", "soak"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	if err := os.Chmod(s.dir, 0o755); err != nil { // nginx's workers are another user's
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, "socket"), 0o700); err != nil {
		return err
	}
	s.ptracer = filepath.Join(s.dir, "ptracer")
	build := exec.CommandContext(ctx, "go", "build", "-o", s.ptracer, "./cmd/ptracer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	defer s.stopServers()
	if err := s.startServers(ctx, only); err != nil {
		return err
	}
	for end := time.Now().Add(length); time.Now().Before(end) && ctx.Err() == nil; {
		if err := s.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startServers starts those that the machine has, each with its load.
func (s *soak) startServers(ctx context.Context, only string) error {
	for _, k := range kinds {
		if only != "" && !strings.Contains(","+only+",", ","+k.name+",") {
			continue
		}
		v, err := s.start(ctx, k)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		if v == nil {
			fmt.Printf("soak: %s left out: not here\n", k.name)
			continue
		}
		s.servers = append(s.servers, v)
	}
	if len(s.servers) == 0 {
		return fmt.Errorf("no server to trace")
	}
	return nil
}

func (s *soak) stopServers() {
	for _, v := range s.servers {
		v.stop()
	}
	for _, v := range s.servers {
		fmt.Printf("soak: %s: %.0f requests a second in all\n", v.name, float64(v.answered.Load())/time.Since(v.began).Seconds())
	}
}

func (s *soak) answered() (n uint64) {
	for _, v := range s.servers {
		n += v.answered.Load()
	}
	return n
}
