package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
)

// partEnv says which attacker this process is.
const partEnv = "ATTACK_PART"

// attacker is one, for some requests.
type attacker struct {
	r      *rand.Rand
	socket string
	server int
	pids   []int
	s      *client.Session
}

func runPart(part string) {
	seed, _ := strconv.ParseUint(os.Getenv("ATTACK_SEED"), 10, 64)
	server, _ := strconv.Atoi(os.Getenv("ATTACK_SERVER"))
	a := &attacker{r: rand.New(rand.NewPCG(seed, 1)), socket: os.Getenv("ATTACK_SOCKET"), server: server}
	for _, f := range strings.Split(os.Getenv("ATTACK_PIDS"), ",") {
		pid, _ := strconv.Atoi(f)
		a.pids = append(a.pids, pid)
	}
	if part == "count" {
		a.count()
		return
	}
	time.AfterFunc(20*time.Second, func() { os.Exit(0) }) // whatever it waits for
	switch part {
	case "user", "namespace":
		a.user()
	case "raw":
		a.raw()
	case "worker":
		a.worker()
	}
}

// program is what a process runs at a moment.
type program struct{ start, file string }

func programOf(pid int) program {
	file, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(stat))
	if len(f) < 22 {
		return program{}
	}
	return program{f[21], file}
}

// may reports whether the kernel lets this process trace another: by the check that
// an attach is made with (ptrace_may_access in proc_mem_open).
func may(pid int) bool {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDONLY, 0)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// held makes a request about a process and holds the answer against the kernel's: a success
// that was allowed neither before nor behind it, of a process that runs the same program still, is wrong.
func (a *attacker) held(what string, pid int, request func() error) error {
	before, allowed := programOf(pid), may(pid)
	err := request()
	behind := may(pid)
	switch {
	case err != nil:
		fmt.Printf("count %s: refused\n", what)
		if allowed && behind {
			fmt.Printf("%s of one's own: %v\n", what, err)
		}
	case !allowed && !behind && programOf(pid) == before:
		fmt.Printf("WRONG %s: the server allows it for process %d, the kernel does not\n", what, pid)
	default:
		fmt.Printf("count %s: done\n", what)
	}
	return err
}

// addresses are where the vault keeps what only root may read, and what no user may
// write: the beginning of the data of a program that is linked to fixed addresses.
func (a *attacker) addresses() []arch.Addr {
	var list []arch.Addr
	for at := arch.Addr(0x404000); at < 0x404200; at += 0x20 {
		list = append(list, at)
	}
	return list
}

// user makes requests of all kinds, about processes that are its user's and that are not.
func (a *attacker) user() {
	for range 40 {
		pid := a.pids[a.r.IntN(len(a.pids))]
		if a.r.IntN(2) == 0 {
			pid = a.pids[a.r.IntN(2)] // its own
		}
		if a.s == nil {
			_ = a.held("attach", pid, func() (err error) {
				a.s, err = client.Dialer{Socket: a.socket, Name: "attacker", Trust: []int{65534}}.Attach(context.Background(), pid, engine.Options{Follow: a.r.IntN(2) == 0, Life: true})
				return err
			})
			continue
		}
		a.request(pid)
	}
	if a.s != nil && a.r.IntN(2) == 0 {
		_ = a.s.Close()
	}
}

// request is one about a process, of a session's that has another, or the same.
func (a *attacker) request(pid int) {
	s := a.s
	mem := make([]byte, 64)
	at := a.addresses()[a.r.IntN(len(a.addresses()))]
	switch a.r.IntN(12) {
	case 0:
		_ = a.held("add", pid, func() error { return s.AddProcess(pid) })
	case 1, 2, 3:
		_ = a.held("read", pid, func() error { return s.ReadMemory(pid, at, mem) })
		if strings.Contains(string(mem), "only-root") {
			fmt.Println("WRONG a secret of root's was read")
		}
	case 4, 5:
		_ = a.held("write", pid, func() error { return s.WriteMemory(pid, at, []byte("XXXX")) })
	case 6:
		_ = a.held("interrupt", pid, func() error { return s.Interrupt(pid) })
		_ = s.Resume(pid)
	case 7:
		_ = a.held("registers", pid, func() error { _, err := s.Registers(pid); return err })
	case 8:
		_ = a.held("control", pid, func() error {
			ctx, done := context.WithTimeout(context.Background(), time.Second)
			defer done()
			return s.Control(ctx, pid, arbiter.Ask{Force: a.r.IntN(2) == 0})
		})
	case 9:
		if h, err := s.OpenHandler(engine.HandlerSpec{Name: []string{"hist", "record", "count"}[a.r.IntN(3)], Where: handler.Auto}); err == nil {
			_, _ = s.Register(engine.ProbeSpec{Location: "work", Handler: h, Pending: true})
			_, _ = h.Result()
			if a.r.IntN(2) == 0 {
				_ = h.Close()
			}
		}
	case 10:
		id, err := s.Register(engine.ProbeSpec{Location: []string{"work", "*:*", "libc:*alloc*"}[a.r.IntN(3)], Pending: true})
		if err == nil {
			_ = s.Hits(id)
			_ = s.Unregister(id)
		}
		_ = s.Hits(event.ProbeID(a.r.IntN(100)))
	case 11:
		_ = s.Close()
		a.s = nil
	}
}

// worker does to this user's workers, and to the server, what signals can.
func (a *attacker) worker() {
	signals := []syscall.Signal{syscall.SIGSTOP, syscall.SIGSTOP, syscall.SIGCONT, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGUSR1, syscall.SIGHUP}
	for range 200 {
		for _, pid := range childrenOf(a.server) {
			signal := signals[a.r.IntN(len(signals))]
			if a.r.IntN(60) > 0 && (signal == syscall.SIGKILL || signal == syscall.SIGTERM || signal == syscall.SIGHUP) {
				continue // it is to work, mostly
			}
			if err := syscall.Kill(pid, signal); err == nil {
				fmt.Printf("count signal to a worker: done\n")
			}
			if may(pid) && slices.Contains(childrenOf(a.server), pid) { // still: its number is not another's
				fmt.Println("WRONG a worker can be looked into")
			}
		}
		if syscall.Kill(a.server, syscall.SIGSTOP) == nil {
			fmt.Println("WRONG the server takes a signal")
		}
		time.Sleep(time.Duration(a.r.IntN(30)) * time.Millisecond)
	}
}

// childrenOf are the processes whose parent is another, as far as this user sees them.
func childrenOf(parent int) (pids []int) {
	names, _ := os.ReadDir("/proc")
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil {
			continue
		}
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}
