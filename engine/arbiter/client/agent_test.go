package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/server"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/internal/leak"
)

// Tests that need a tracer or a server in a process of its own, to kill it or to give it another
// user, run this program again, in a part.
const partEnv = "PTRACER_TEST_PART"

var parts = map[string]func(){"agent": agentPart, "server": serverPart, "front": frontPart, "activated": activatedPart, "worker": workerPart}

func TestMain(m *testing.M) {
	if run := parts[os.Getenv(partEnv)]; run != nil {
		run()
		return
	}
	leak.Main(m)
}

// request is a request to an agent, a tracer that follows requests.
type request struct {
	Op     string
	Socket string `json:",omitempty"`
	ID     int    `json:",omitempty"` // of a process, task or probe
	Text   string `json:",omitempty"`
	Stop   bool   `json:",omitempty"`
	Force  bool   `json:",omitempty"`
}

// answer is an agent's answer.
type answer struct {
	Err  string
	Is   []string // the named errors that it is
	N    uint64
	Told map[string]int
}

// named are errors that agents distinguish.
var named = map[string]error{"control": arbiter.ErrControl, "held": arbiter.ErrHeld, "stopped": engine.ErrNotStopped,
	"quota": arbiter.ErrQuota, "user": engine.ErrOtherUser, "gone": engine.ErrGone, "dumpable": engine.ErrUndumpable,
	"capability": engine.ErrCapability, "namespace": engine.ErrNamespace, "unreachable": ErrNoServer}

func (a answer) is(name string) bool {
	for _, x := range a.Is {
		if x == name {
			return true
		}
	}
	return false
}

// agent is an agent in this process.
type agent struct{ s *Session }

func (a *agent) do(r request) (b answer) {
	err := a.perform(r, &b)
	if err != nil {
		b.Err = err.Error()
	}
	for name, e := range named {
		if errors.Is(err, e) {
			b.Is = append(b.Is, name)
		}
	}
	return b
}

func (a *agent) perform(r request, b *answer) (err error) {
	s := a.s
	switch r.Op {
	case "attach":
		// Root's id in a user namespace of its own is 65534 outside.
		a.s, err = Dialer{Socket: r.Socket, Name: r.Text, Trust: []int{65534}}.Attach(context.Background(), r.ID)
	case "add":
		err = s.AddProcess(r.ID)
	case "register":
		spec := engine.ProbeSpec{Location: r.Text, Pending: r.Force}
		if r.Stop {
			spec.Action = engine.ActionStop
		}
		var id event.ProbeID
		id, err = s.Register(spec)
		b.N = uint64(id)
	case "unregister":
		err = s.Unregister(event.ProbeID(r.ID))
	case "hits":
		b.N = s.Hits(event.ProbeID(r.ID))
	case "interrupt":
		err = s.Interrupt(r.ID)
	case "interrupt task":
		err = s.InterruptTask(r.ID)
	case "resume":
		err = s.Resume(r.ID)
	case "resume task":
		err = s.ResumeTask(r.ID)
	case "step":
		err = s.Step(r.ID)
	case "write":
		regs, err2 := s.Registers(r.ID)
		if err = err2; err == nil {
			err = s.SetRegisters(r.ID, regs)
		}
	case "control":
		err = s.Control(context.Background(), r.ID, arbiter.Ask{Force: r.Force})
	case "yield":
		err = s.Yield(r.ID)
	case "look": // opens a file
		var f *os.File
		if f, err = os.Open(r.Text); err == nil {
			err = f.Close()
		}
	case "signal":
		pid, _ := strconv.Atoi(r.Text)
		err = syscall.Kill(pid, syscall.Signal(r.ID))
	case "detach":
		err = s.Detach()
	case "close":
		err = s.Close()
	case "told":
		b.Told = map[string]int{}
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			b.Told[e.Kind().String()]++
		}
	case "wait for":
		for e := range s.Events(context.Background()) {
			if e.Kind().String() == r.Text {
				return nil
			}
		}
		err = engine.ErrEnded
	default:
		err = more(a, r, b)
	}
	return err
}

// agentPart is an agent in a process of its own: one request per line.
func agentPart() {
	var a agent
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r request
		if in.Decode(&r) != nil {
			return
		}
		_ = out.Encode(a.do(r))
	}
}

// remote is an agent in a process of its own.
type remote struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// part starts this program in a part, with its input and output.
func part(t testing.TB, name string, as *syscall.SysProcAttr, env ...string) (cmd *exec.Cmd, in io.WriteCloser, out io.Reader) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), partEnv+"="+name), env...)
	cmd.SysProcAttr, cmd.Stderr = as, os.Stderr
	in, err := cmd.StdinPipe()
	if err == nil {
		out, err = cmd.StdoutPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, in, out
}

func newRemote(t testing.TB, as *syscall.SysProcAttr) *remote {
	cmd, in, out := part(t, "agent", as)
	return &remote{t, cmd, in, json.NewDecoder(out)}
}

func (r *remote) do(q request) (b answer) {
	r.t.Helper()
	err := json.NewEncoder(r.in).Encode(q)
	if err == nil {
		err = r.out.Decode(&b)
	}
	if err != nil {
		r.t.Fatalf("agent: %+v: %v", q, err)
	}
	return b
}

// ok makes a request that must succeed.
func (r *remote) ok(q request) answer {
	r.t.Helper()
	b := r.do(q)
	if b.Err != "" {
		r.t.Fatalf("agent: %+v: %s", q, b.Err)
	}
	return b
}

func (r *remote) signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Error(err)
	}
}

// serverPart is a server in a process of its own, at the socket that the environment names, until
// its standard input ends.
func serverPart() {
	l, err := server.Listen(os.Getenv(SocketEnv), os.Getenv("PTRACER_TEST_ALL") != "")
	if err != nil {
		fmt.Println(err)
		return
	}
	s := server.New(server.Options{Version: "test", Hang: 2 * time.Second})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = s.Close()
	}()
	fmt.Println("serves")
	if err := s.Serve(l); err != nil {
		fmt.Println(err)
	}
}

// newFront is a server for all users that has this program as its workers.
func newFront() *server.Front {
	return server.NewFront(server.FrontOptions{Command: []string{"/proc/self/exe"}, Env: append(os.Environ(), partEnv+"=worker")})
}

// frontPart is a front in a process of its own, until its standard input ends.
func frontPart() {
	l, err := server.Passed()
	if l == nil && err == nil {
		l, err = server.Listen(os.Getenv(SocketEnv), true)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	f := newFront()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = f.Close()
	}()
	fmt.Println("serves")
	if err := f.Serve(l); err != nil {
		fmt.Println(err)
	}
}

// activatedPart is a front as a service manager starts it, with its socket.
func activatedPart() {
	err := errors.Join(os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())), os.Setenv(partEnv, "front"))
	if err == nil {
		err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	fmt.Println(err)
}

// workerPart is a worker of a server for all users.
func workerPart() {
	who, err := server.ParseIdentity(os.Args[1])
	if err == nil {
		idle, _ := time.ParseDuration(os.Getenv("PTRACER_TEST_IDLE"))
		err = server.RunWorker(who, server.Options{Version: "test", Idle: idle})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveApart starts a server in a process of its own.
func serveApart(t testing.TB, socket string, env ...string) (cmd *exec.Cmd, in io.WriteCloser) {
	t.Helper()
	return startApart(t, "server", socket, env...)
}

func startApart(t testing.TB, name, socket string, env ...string) (cmd *exec.Cmd, in io.WriteCloser) {
	t.Helper()
	cmd, in, out := part(t, name, nil, append(env, SocketEnv+"="+socket)...)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "serves" {
		t.Fatalf("server: %q, %v", line, err)
	}
	return cmd, in
}
