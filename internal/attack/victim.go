package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/engine/event"
)

// victim counts in programs of a user's, which no other user may disturb: each count is the program's
// own, and no command takes long.
func (w *world) victim(ctx context.Context, uid uint32, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	for ctx.Err() == nil {
		if err := w.countOnce(ctx, uid, time.Duration(r.IntN(400))*time.Millisecond); err != nil && ctx.Err() == nil {
			w.fail(fmt.Errorf("user %d: %w", uid, err))
			return
		}
		w.mu.Lock()
		w.said[fmt.Sprintf("user %d counted", uid)]++
		w.mu.Unlock()
	}
}

// tooLong is far more than a command takes on a busy machine, and less than what a client that does not
// answer is waited for.
const tooLong = 60 * time.Second

func (w *world) countOnce(ctx context.Context, uid uint32, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	program := exec.CommandContext(ctx, w.path("counted"))
	program.SysProcAttr = as(uid)
	in, err := program.StdinPipe()
	if err != nil {
		return err
	}
	var said strings.Builder
	program.Stdout = &said
	if err := program.Start(); err != nil {
		return err
	}
	tracer := exec.CommandContext(ctx, w.path("attack"))
	tracer.SysProcAttr, tracer.Stderr = as(uid), os.Stderr
	tracer.Env = append(os.Environ(), partEnv+"=count", "ATTACK_SOCKET="+w.socket, fmt.Sprint("ATTACK_PIDS=", program.Process.Pid))
	out, err := tracer.StdoutPipe()
	if err == nil {
		err = tracer.Start()
	}
	if err != nil {
		return errors.Join(err, program.Process.Kill())
	}
	lines := bufio.NewScanner(out)
	if lines.Scan(); lines.Text() != "planted" {
		_ = program.Process.Kill()
		return errors.Join(fmt.Errorf("attach: %s", lines.Text()), program.Wait(), tracer.Wait(), ctx.Err())
	}
	_, _ = io.WriteString(in, "g")
	time.Sleep(d)
	in.Close()
	ended := program.Wait()
	lines.Scan()
	hits := lines.Text()
	if err := errors.Join(ended, tracer.Wait()); err != nil {
		return fmt.Errorf("%w: %s", err, hits)
	}
	if want := strings.TrimSpace(said.String()); hits != want {
		return fmt.Errorf("counted %s of %s calls", hits, want)
	}
	return nil
}

// count is the part that counts the calls of a program until that ends.
func (a *attacker) count() {
	pid := a.pids[0]
	s, err := client.Dialer{Socket: a.socket, Name: "victim"}.Attach(context.Background(), pid, engine.Options{Life: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	id, err := s.Register(engine.ProbeSpec{Location: "work"})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("planted")
	<-s.Done()
	for e := range s.Events(context.Background()) {
		switch b := e.Body.(type) {
		case *event.Warning:
			fmt.Println(b.Text)
			os.Exit(1)
		case *event.Failed:
			fmt.Println(b.Text)
			os.Exit(1)
		}
	}
	fmt.Println(s.Hits(id))
}

// tell says how often what was answered.
func (w *world) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var keys []string
	for k := range w.said {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range slices.Compact(keys) {
		fmt.Printf("attack: %6d %s\n", w.said[k], k)
	}
}
