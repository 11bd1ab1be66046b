package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// kind is a server that may be on the machine.
type kind struct {
	name    string
	program string // that must be there
	// made writes what it needs into a folder, and gives its arguments.
	made func(dir string, port int) ([]string, error)
	ask  func(c *client) error // one request
	// jit: it makes code as it runs, in memory that is executable and of no file.
	jit bool
	// probes are locations that it has many of, few one for traps: at all of them it would stand.
	probes []string
	few    string
}

var kinds = []kind{
	{name: "redis", program: "redis-server", made: redisFor, ask: askRedis, probes: []string{"redis*:*", "libc:*", "libc:*alloc*"}, few: "libc:*alloc"},
	{name: "nginx", program: "nginx", made: nginxFor, ask: askHTTP, probes: []string{"nginx:ngx_http_*", "libc:*", "libc:*send*"}, few: "libc:*alloc"},
	{name: "go", program: "go", made: goFor, ask: askHTTP, probes: []string{"net/http.*", "runtime.*", "goserver:main.*"}, few: "goserver:main.*"}, // it may have no libc
	{name: "node", program: "node", made: nodeFor, ask: askHTTP, jit: true, probes: []string{"libc:*", "libc:*alloc*"}, few: "libc:*alloc"},
	{name: "java", program: "java", made: javaFor, ask: askHTTP, jit: true, probes: []string{"libjvm:JVM_*", "libc:*"}, few: "libc:*alloc"},
}

// server is one that runs, with its load.
type server struct {
	kind
	cmd      *exec.Cmd
	port     int
	log      string
	began    time.Time
	stop     func()
	answered atomic.Uint64

	mu     sync.Mutex
	failed error // the first request that did
	ended  chan struct{}
}

// start starts a server and its load; nil if it is not on the machine.
func (s *soak) start(ctx context.Context, k kind) (*server, error) {
	if _, err := exec.LookPath(k.program); err != nil {
		return nil, nil
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, k.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	args, err := k.made(dir, port)
	if err != nil {
		return nil, err
	}
	v := &server{kind: k, port: port, log: filepath.Join(dir, "log"), began: time.Now(), ended: make(chan struct{})}
	log, err := os.Create(v.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	v.cmd = exec.Command(args[0], args[1:]...)
	v.cmd.Dir, v.cmd.Stdout, v.cmd.Stderr = dir, log, log
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	load, cancel := context.WithCancel(ctx)
	v.stop = func() {
		cancel()
		_ = syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL)
		<-v.ended
	}
	go func() {
		_ = v.cmd.Wait()
		close(v.ended)
	}()
	if err := v.await(); err != nil {
		return nil, err
	}
	for range 2 {
		go v.load(load)
	}
	return v, nil
}

// await waits until the server answers.
func (v *server) await() error {
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c := &client{port: v.port}
		err = v.ask(c)
		c.close()
		if err == nil {
			return nil
		}
		select {
		case <-v.ended:
			return fmt.Errorf("it has ended: %s", v.said())
		default:
		}
	}
	return fmt.Errorf("it does not answer: %w: %s", err, v.said())
}

func (v *server) said() string {
	b, _ := os.ReadFile(v.log)
	return string(b[max(0, len(b)-2000):])
}

// rate is how many requests each of a server's clients makes a second at the most.
const rate = 500

// load asks until the end. A request that fails is noted, and asked again: one that is
// answered then is no failure of the server's life, but one of its service.
func (v *server) load(ctx context.Context) {
	c := &client{port: v.port}
	defer c.close()
	for tick := time.NewTicker(time.Second / rate); ctx.Err() == nil; {
		if err := v.ask(c); err != nil && ctx.Err() == nil {
			v.mu.Lock()
			if v.failed == nil {
				v.failed = err
			}
			v.mu.Unlock()
			c.close()
		} else {
			v.answered.Add(1)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// failure is the first request that has failed since it was asked last.
func (v *server) failure() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.failed
	v.failed = nil
	return err
}

// pids are the server's processes, its first one in front.
func (v *server) pids() (list []int) {
	list = []int{v.cmd.Process.Pid}
	for i := 0; i < len(list); i++ {
		list = append(list, children(list[i])...)
	}
	return list
}

// client is one that asks a server, and keeps its connection.
type client struct {
	port int
	conn net.Conn
	in   *bufio.Reader
}

// patience is how long an answer may take: a pause of a whole machine's tracing, and more.
const patience = 30 * time.Second

// open connects, and sets the time that a request may take.
func (c *client) open() error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", c.port), patience)
		if err != nil {
			return err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	return c.conn.SetDeadline(time.Now().Add(patience))
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func askHTTP(c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	if _, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: soak\r\n\r\n"); err != nil {
		return err
	}
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && (r.StatusCode != 200 || !strings.Contains(string(b), "soaked")) {
		err = fmt.Errorf("status %s, %q", r.Status, b)
	}
	if r.Close { // nginx ends a connection after some requests
		c.close()
	}
	return err
}

func askRedis(c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	if _, err := io.WriteString(c.conn, "SET soak 17\r\nINCR soak\r\n"); err != nil {
		return err
	}
	for _, want := range []string{"+OK", ":"} {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, want) {
			return fmt.Errorf("answer %q", line)
		}
	}
	return nil
}

// freePort is one that nothing listens at.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
