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
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// world is one run: the server, the processes that are attacked, and those who attack.
type world struct {
	seed    uint64
	verbose bool
	binary  string // of ptracer, "": to be built
	dir     string
	socket  string
	server  *exec.Cmd
	targets []*target

	mu    sync.Mutex
	said  map[string]int // how often what was answered
	wrong error          // the first
	quit  context.CancelFunc
}

func (w *world) run(ctx context.Context, length time.Duration) (err error) {
	if os.Getuid() != 0 {
		return errors.New("it needs root, to be several users")
	}
	if w.dir, err = os.MkdirTemp("", "attack"); err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	if err := w.build(ctx); err != nil {
		return err
	}
	ctx, w.quit = context.WithTimeout(ctx, length)
	defer w.quit()
	if err := w.serve(); err != nil {
		return err
	}
	defer func() {
		for _, p := range w.targets {
			p.stop()
		}
	}()
	if err := w.start(); err != nil {
		return errors.Join(err, w.stop())
	}
	var wg sync.WaitGroup
	for i, part := range []string{"user", "user", "raw", "worker", "namespace"} {
		wg.Go(func() { w.attacker(ctx, part, userA, w.seed+uint64(i)) })
	}
	for _, uid := range []uint32{userB, 0} {
		wg.Go(func() { w.victim(ctx, uid, w.seed+uint64(uid)) })
	}
	wg.Wait()
	return errors.Join(w.stop(), w.fault())
}

// build makes the programs: ptracer, those that are attacked, and this one for other users.
func (w *world) build(ctx context.Context) error {
	if err := os.Chmod(w.dir, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(w.path("run"), 0o755); err != nil {
		return err
	}
	w.socket = w.path("run/socket")
	if w.binary != "" {
		if err := copyFile(w.binary, w.path("ptracer"), 0o755); err != nil {
			return err
		}
	} else {
		build := exec.CommandContext(ctx, "go", "build", "-o", w.path("ptracer"), "./cmd/ptracer")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	for name, source := range map[string]string{"plain": vaultSource, "scribbler": scribblerSource, "counted": countedSource} {
		file := w.path(name + ".c")
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "gcc", "-O1", "-no-pie", "-o", w.path(name), file).CombinedOutput(); err != nil {
			return fmt.Errorf("gcc: %w\n%s", err, out)
		}
	}
	if err := copyFile(w.path("plain"), w.path("vault"), os.ModeSetuid|0o755); err != nil {
		return err
	}
	if err := copyFile(w.path("counted"), w.path("hidden"), 0o711); err != nil { // not dumpable
		return err
	}
	if err := copyFile("/proc/self/exe", w.path("attack"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(w.path("secret"), []byte(secret), 0o600)
}

// secret is what only root may read.
const secret = "only-root-knows-this"

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func copyFile(from, to string, mode os.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		return err
	}
	return os.Chmod(to, mode)
}

// serve starts the server.
func (w *world) serve() error {
	log, err := os.Create(w.path("log"))
	if err != nil {
		return err
	}
	defer log.Close()
	w.server = exec.Command(w.path("ptracer"), "serve", "--system", "--socket", w.socket, "--hang", "5s")
	w.server.Stdout, w.server.Stderr = log, log
	if err := w.server.Start(); err != nil {
		return err
	}
	for range 1000 {
		if _, err := os.Stat(w.socket); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the server does not serve")
}

// stop ends the server, which must have lived until now, and end as asked.
func (w *world) stop() error {
	early := w.server.Process.Signal(syscall.SIGTERM)
	time.AfterFunc(30*time.Second, func() { _ = w.server.Process.Kill() })
	if err := errors.Join(early, w.server.Wait()); err != nil {
		log, _ := os.ReadFile(w.path("log"))
		return fmt.Errorf("the server: %w\n%s", err, tail(string(log), 4000))
	}
	return nil
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// target is a program that is attacked. It may die of that, and is started again.
type target struct {
	uid  uint32
	args []string
	cmd  *exec.Cmd
	dead chan struct{} // closed at its end
}

// start starts the programs that are attacked, those that are the attackers' own first.
func (w *world) start() error {
	plain, hidden := w.path("plain"), w.path("hidden")
	w.targets = []*target{
		{uid: userA, args: []string{plain, plain, w.path("vault"), w.path("secret"), w.path("broken")}},
		{uid: userA, args: []string{w.path("scribbler")}},
		{uid: userA, args: []string{hidden}},
		{uid: userB, args: []string{w.path("scribbler")}},
		{uid: 0, args: []string{w.path("scribbler")}},
	}
	for _, p := range w.targets {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

func (p *target) start() error {
	p.cmd, p.dead = exec.Command(p.args[0], p.args[1:]...), make(chan struct{})
	p.cmd.Dir, p.cmd.SysProcAttr = "/", as(p.uid)
	p.cmd.SysProcAttr.Pdeathsig = 0 // of the thread that has started it
	if _, err := p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.args[0], err)
	}
	cmd, dead := p.cmd, p.dead
	go func() {
		_ = cmd.Wait()
		close(dead)
	}()
	return nil
}

func (p *target) stop() {
	_ = p.cmd.Process.Kill()
	<-p.dead
}

// pids are the attacked processes, of which those that have died are started again.
func (w *world) pids() (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, p := range w.targets {
		select {
		case <-p.dead:
			w.said[fmt.Sprintf("target %d died", i)]++
			if err := p.start(); err != nil && w.wrong == nil {
				w.wrong = err
			}
		default:
		}
		list = append(list, fmt.Sprint(p.cmd.Process.Pid))
	}
	return list
}

func as(uid uint32) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if uid != 0 {
		a.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	return a
}

// attacker runs a part of this program as a user, again and again, until the time is over. What
// it finds wrong it says in lines that begin with WRONG; "count X" is counted.
func (w *world) attacker(ctx context.Context, part string, uid uint32, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, w.path("attack"))
		cmd.Dir, cmd.SysProcAttr, cmd.Stderr = "/", as(uid), os.Stderr
		if part == "namespace" { // of its own, in which it is root
			one := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(uid), Size: 1}}
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: one, GidMappings: one, Credential: &syscall.Credential{}}
		}
		cmd.Env = append(os.Environ(), partEnv+"="+part, "ATTACK_SEED="+fmt.Sprint(r.Uint64()), "ATTACK_SOCKET="+w.socket,
			"ATTACK_SERVER="+fmt.Sprint(w.server.Process.Pid), "ATTACK_PIDS="+strings.Join(w.pids(), ","))
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			w.fail(err)
			return
		}
		w.listen(out)
		_ = cmd.Wait() // it may have killed itself
		w.look()
	}
}

func (w *world) listen(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "WRONG":
			w.fail(errors.New(rest))
		case "count":
			w.mu.Lock()
			w.said[rest]++
			w.mu.Unlock()
		default:
			if w.verbose {
				fmt.Println(line)
			}
		}
	}
}

// look makes sure of what must be so at any time, and counts what must be so at some.
func (w *world) look() {
	if status, _ := os.ReadFile(fmt.Sprintf("/proc/%s/status", w.pids()[0])); strings.Contains(string(status), fmt.Sprintf("Uid:\t%d\t0", userA)) {
		w.mu.Lock()
		w.said["the vault seen with root's rights"]++
		w.mu.Unlock()
	}
	if _, err := os.Stat(w.path("broken")); err == nil {
		w.fail(errors.New("a set-uid program's data was changed while it had root's rights"))
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.server.Process.Pid))
	if err != nil || strings.Contains(string(status), "State:\tZ") {
		w.fail(fmt.Errorf("the server has ended: %v", err))
	}
	const most = 200 << 10 // kB
	var peak int
	if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
		_, _ = fmt.Sscan(rest, &peak)
	}
	if peak > most {
		w.fail(fmt.Errorf("the server has had %d kB of memory", peak))
	}
}

func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrong == nil {
		w.wrong = err
		w.quit()
	}
}

func (w *world) fault() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrong
}
