package engine

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/skip"
)

// realProgram is a program that was not written for these tests, and what is probed in it.
type realProgram struct {
	name  string
	argv  []string
	where []string // locations: all functions of the program, and of its library
	least uint64   // hits
	heavy bool     // minutes of hits: only with PTRACER_TEST_ROUNDS
}

var programs = []realProgram{
	{name: "ls", argv: []string{"ls", "-la", "/usr/lib"}, where: []string{"ls:*", "libc:*"}, least: 1000},
	{name: "bash", argv: []string{"bash", "-c", `for i in 1 2 3; do echo $i | cat; done; ls / | wc -l; x=$(echo sub; exit 3); echo $x $?; trap 'echo trapped' USR1; kill -USR1 $$`},
		where: []string{"bash:*"}, least: 1000},
	{name: "python3 with threads", argv: []string{"/usr/bin/python3", "-c", `
import threading, subprocess
r = []
ts = [threading.Thread(target=lambda i=i: r.append(sum(range(300 * i)))) for i in range(6)]
[t.start() for t in ts]; [t.join() for t in ts]
print(sorted(r), subprocess.check_output(["echo", "child"]))
`}, where: []string{"python3:*"}, least: 1000},
	{name: "sqlite3", argv: []string{"sqlite3", ":memory:", `create table t(a, b); with recursive c(x) as (select 1 union all select x+1 from c where x<300)
insert into t select x, x*x from c; select sum(a), sum(b), count(*) from t where b % 7 = 1; select group_concat(a) from (select a from t order by -b limit 5);`},
		where: []string{"sqlite3:*", "libsqlite3:*"}, least: 1000},
	{name: "gdb", argv: []string{"gdb", "-nx", "-batch", "-ex", "print 6*7"}, where: []string{"gdb:*"}, least: 1000},
	{name: "go version", argv: []string{"go", "version"}, where: []string{"go:*"}, least: 10000},
	{name: "go build", argv: []string{"go", "build", "-o", "/dev/null", "."}, where: []string{"go:*"}, least: 100000, heavy: true},
}

// TestPrograms has all functions of real programs probed, their children
// included: they print and return what they do without.
func TestPrograms(t *testing.T) {
	for _, c := range programs {
		t.Run(c.name, func(t *testing.T) {
			if c.heavy && os.Getenv("PTRACER_TEST_ROUNDS") == "" {
				skip.Missing(t, "PTRACER_TEST_ROUNDS: takes minutes")
			}
			if _, err := exec.LookPath(c.argv[0]); err != nil {
				skip.Missing(t, c.argv[0])
			}
			dir := module(t)
			cmd := exec.Command(c.argv[0], c.argv[1:]...)
			cmd.Dir = dir
			want, err := cmd.Output()
			if err != nil {
				t.Fatalf("unprobed: %v", err)
			}
			got, exit, hits := probed(t, c, dir)
			if got != string(want) || exit.Code() != 0 {
				t.Errorf("exit %+v, printed\n%s\nwithout probes\n%s", exit, got, want)
			}
			if hits < c.least {
				t.Errorf("%d hits, at least %d expected", hits, c.least)
			}
		})
	}
}

// module makes a folder with a Go program in it.
func module(t *testing.T) string {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module hello\n", "hello.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func probed(t *testing.T, c realProgram, dir string) (printed string, exit Exit, hits uint64) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s, err := Start(context.Background(), Command{Path: c.argv[0], Args: c.argv[1:], Dir: dir, Stdout: out}, Options{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	pid := s.Processes()[0]
	for _, where := range c.where {
		if _, err := s.Register(ProbeSpec{Location: where, Pending: true}); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	if err := s.Resume(pid); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(5 * time.Minute):
		t.Fatal("the program hangs")
	}
	for _, pl := range s.Placements(0) {
		hits += pl.Hits
	}
	exit, _ = s.Exit(pid)
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text), exit, hits
}

// TestServer has all functions of redis-server probed while clients talk to
// it, and let go again.
func TestServer(t *testing.T) {
	for _, name := range []string{"redis-server", "redis-benchmark", "redis-cli"} {
		if _, err := exec.LookPath(name); err != nil {
			skip.Missing(t, name)
		}
	}
	socket := filepath.Join(t.TempDir(), "redis.sock")
	server := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--daemonize", "no")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	until(t, "redis-server listens", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	s := attach(t, server.Process.Pid)
	id := register(t, s, ProbeSpec{Location: "redis-server:*"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "redis-benchmark", "-s", socket, "-n", "100", "-c", "5", "-t", "set,get,lpush", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cli := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "redis-cli", append([]string{"-s", socket}, args...)...).Output()
		if err != nil {
			t.Errorf("%v: %v", args, err)
		}
		return string(bytes.TrimSpace(out))
	}
	if got := cli("set", "k", "v") + cli("get", "k") + cli("llen", "mylist"); got != "OKv100" {
		t.Errorf("probed server says %q", got)
	}
	if s.Hits(id) < 10000 {
		t.Errorf("only %d hits", s.Hits(id))
	}
	detach(t, s)
	if got := cli("get", "k"); got != "v" {
		t.Errorf("released server says %q", got)
	}
	if out, err := exec.CommandContext(ctx, "redis-benchmark", "-s", socket, "-n", "1000", "-c", "5", "-t", "get", "-q").CombinedOutput(); err != nil || !strings.Contains(string(out), "GET") {
		t.Errorf("%v\n%s", err, out)
	}
}
