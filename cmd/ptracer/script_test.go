package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/internal/skip"
)

func TestMain(m *testing.M) {
	testscript.Main(leak.Check(m), map[string]func(){"ptracer": main})
}

// TestScripts runs ptracer on real programs, as a user does. Commands beside
// testscript's own:
//
//	needs PROGRAM...     skips where one is missing; "amd64", "eBPF" and "grpcio" are
//	                     things to need, too
//	fixture NAME...      sets $NAME to the fixture's path
//	pid VAR [NAME]       sets VAR to the pid of the last background command, or
//	                     of its descendant with that name, once there is one
//	status N COMMAND...  runs a command that has to end with exit status N, or
//	                     with one of several: 0,1
//	pause TIME           does nothing for that long
//	traced PID           waits until a process is traced
//	probed PID           waits until it is through a server, and a probe in it was hit
//	signal NAME PID      sends a signal
//	untouched PID        the process is not traced and has no mapping of ours
//	jsonl FILE KEY...    FILE has one JSON object a line, with these keys; docs/json.md has
//	                     all names in it
//	hits FILE PROBE N    count's table or JSON in FILE has exactly N hits
//	matches FILE REGEXP  waits until a line of FILE matches
//	server VAR           sets VAR to the pid of the server at $PTRACER_SOCKET
//	examples             runs the examples of all helps
//	apart PID FILE       a process has its own session, the root folder, nothing of
//	                     ours as its input and output, and FILE not open
func TestScripts(t *testing.T) {
	unignore()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[tKey{}] = env.T().(testing.TB)
			for name, dir := range map[string]string{"OBJECTS": "testdata/objects", "PROGRAMS": "../../engine/handler/program/testdata", "MODULE": "../.."} {
				abs, err := filepath.Abs(dir)
				if err != nil {
					return err
				}
				env.Setenv(name, abs)
			}
			folder := filepath.Join(env.WorkDir, "server")
			if err := os.Mkdir(folder, 0o700); err != nil {
				return err
			}
			env.Setenv(client.SocketEnv, filepath.Join(folder, "socket"))
			if cache, err := os.UserCacheDir(); err == nil { // go builds its tools when they are first used
				env.Setenv("GOCACHE", filepath.Join(cache, "go-build"))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"needs": needs, "status": status, "pause": pause, "fixture": setFixture, "pid": setPID, "traced": traced, "probed": probed, "signal": sendSignal,
			"untouched": untouched, "jsonl": jsonLines, "hits": hasHits, "matches": matches, "server": setServer, "apart": isApart, "examples": examples,
			"drop": drop, "residenthit": residentHit,
		},
	})
}

// unignore gives commands the default action of the signals that the scripts send.
// Under nohup, or in a shell's background, the tests themselves are started with some
// of them ignored, and so would be every command of a script.
func unignore() {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// tKey is the key of a script's own testing.TB.
type tKey struct{}

func setServer(ts *testscript.TestScript, _ bool, args []string) {
	i, err := client.Dialer{Socket: ts.Getenv(client.SocketEnv)}.Server()
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(i.PID))
}

// probed waits until a process is traced through a server, and a probe in it hit.
func probed(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(args[0])
	ts.Check(err)
	await(ts, "hits of "+args[0], func() bool {
		list, err := client.Dialer{Socket: ts.Getenv(client.SocketEnv)}.Hits(pid)
		return err == nil && slices.ContainsFunc(list, func(t arbiter.TracerInfo) bool { return len(t.Hits) > 0 && slices.Max(t.Hits) > 0 })
	})
}

// drop takes what matches a regular expression out of files.
func drop(ts *testscript.TestScript, _ bool, args []string) {
	what, err := regexp.Compile(args[0])
	ts.Check(err)
	for _, name := range args[1:] {
		ts.Check(os.WriteFile(ts.MkAbs(name), what.ReplaceAll([]byte(ts.ReadFile(name)), nil), 0o600))
	}
}

// residentHit waits until the probes that are left in a process have been hit.
func residentHit(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(args[0])
	ts.Check(err)
	await(ts, "hits in "+args[0], func() bool {
		r, err := engine.OpenResident(pid)
		if err != nil {
			return false
		}
		places, err := r.Placements()
		return err == nil && slices.ContainsFunc(places, func(p engine.Placement) bool { return p.Hits > 0 })
	})
}

func isApart(ts *testscript.TestScript, _ bool, args []string) {
	dir := "/proc/" + args[0]
	stat, err := os.ReadFile(dir + "/stat")
	ts.Check(err)
	if f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])); f[3] != args[0] {
		ts.Fatalf("it is in session %s", f[3])
	}
	if cwd, err := os.Readlink(dir + "/cwd"); err != nil || cwd != "/" {
		ts.Fatalf("it is in %s, %v", cwd, err)
	}
	fds, err := os.ReadDir(dir + "/fd")
	ts.Check(err)
	for _, fd := range fds {
		to, _ := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		n, _ := strconv.Atoi(fd.Name())
		if n < 2 && to != os.DevNull || n == 2 && !strings.HasSuffix(to, ".log") || to == ts.MkAbs(args[1]) {
			ts.Fatalf("it has descriptor %d: %s", n, to)
		}
	}
}

func needs(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		var err error
		switch name {
		case "amd64":
			if runtime.GOARCH != name {
				err = errors.ErrUnsupported
			}
		case "eBPF":
			err = kernel.Available()
		case "grpcio":
			err = exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").Run()
		case "unmounting":
			err = exec.Command("unshare", "-m", "umount", "-l", "/proc").Run()
		default:
			_, err = exec.LookPath(name)
		}
		if err != nil {
			skip.Missing(ts.Value(tKey{}).(testing.TB), name)
		}
	}
}

func status(ts *testscript.TestScript, _ bool, args []string) {
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if !slices.Contains(strings.Split(args[0], ","), strconv.Itoa(got)) {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

func pause(ts *testscript.TestScript, _ bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}

func setFixture(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ts.Setenv(name, fixture.Path(ts.Value(tKey{}).(testing.TB), name))
	}
}

// patience is how long something may take that a script waits for.
const patience = time.Minute

func await(ts *testscript.TestScript, what string, done func() bool) {
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func setPID(ts *testscript.TestScript, _ bool, args []string) {
	all := ts.BackgroundCmds()
	if len(all) == 0 {
		ts.Fatalf("nothing runs in the background")
	}
	pid := all[len(all)-1].Process.Pid
	if len(args) > 1 {
		top := pid
		await(ts, "descendant "+args[1], func() bool {
			pid = descendant(top, args[1])
			return pid != 0
		})
	}
	ts.Setenv(args[0], strconv.Itoa(pid))
}

// descendant finds a process below another by its name.
func descendant(pid int, comm string) int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, f := range strings.Fields(string(b)) {
			child, _ := strconv.Atoi(f)
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
			if strings.TrimSpace(string(name)) == comm {
				return child
			}
			if found := descendant(child, comm); found != 0 {
				return found
			}
		}
	}
	return 0
}

func tracer(pid string) string {
	b, _ := os.ReadFile("/proc/" + pid + "/status")
	_, rest, _ := strings.Cut(string(b), "\nTracerPid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

func traced(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, "trace of "+args[0], func() bool { t := tracer(args[0]); return t != "0" && t != "" })
}

func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL, "USR1": syscall.SIGUSR1}
	if signals[args[0]] == 0 {
		ts.Fatalf("signal %s: not known", args[0])
	}
	pid, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(syscall.Kill(pid, signals[args[0]]))
}

// untouched waits for the end of tracing and holds a process against what that
// has to leave: no code that belongs to no file but the kernel's.
func untouched(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, "end of the trace of "+args[0], func() bool { return tracer(args[0]) == "0" })
	maps, err := os.ReadFile("/proc/" + args[0] + "/maps")
	ts.Check(err)
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		if strings.Contains(f[1], "x") && (len(f) < 6 || !strings.HasPrefix(f[5], "/") && !strings.HasPrefix(f[5], "[v")) {
			ts.Fatalf("left in %s: %s", args[0], line)
		}
	}
}

func objects(ts *testscript.TestScript, file string) (list []map[string]any) {
	for line := range strings.Lines(ts.ReadFile(file)) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			ts.Fatalf("%s: %v: %s", file, err, line)
		}
		list = append(list, o)
	}
	if len(list) == 0 {
		ts.Fatalf("%s: empty", file)
	}
	return list
}

func jsonLines(ts *testscript.TestScript, _ bool, args []string) {
	want := slices.Sorted(slices.Values(args[1:]))
	for _, o := range objects(ts, args[0]) {
		var keys []string
		for k := range o {
			keys = append(keys, k)
		}
		if slices.Sort(keys); !slices.Equal(keys, want) {
			ts.Fatalf("keys are %q, want %q", keys, want)
		}
		missing, err := undocumented(o)
		if ts.Check(err); len(missing) > 0 {
			ts.Fatalf("%s does not have %q", jsonDoc, missing)
		}
	}
}

func hasHits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	got, found := 0.0, false
	text := ts.ReadFile(args[0])
	if strings.HasPrefix(text, "{") {
		for _, o := range objects(ts, args[0]) {
			if o["probe"] == args[1] {
				got, found = got+o["hits"].(float64), true
			}
		}
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == args[1] {
			n, err := strconv.ParseFloat(f[1], 64)
			ts.Check(err)
			got, found = got+n, true
		}
	}
	if !found || got != want {
		ts.Fatalf("%s: %v hits of %s (found: %v), want %v; in\n%s", args[0], got, args[1], found, want, text)
	}
}

func matches(ts *testscript.TestScript, _ bool, args []string) {
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	await(ts, args[0]+" to match "+args[1], func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && re.Match(text)
	})
}
