package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
)

func init() {
	tracers["try"] = tryOnce
	tracers["hold"] = holdForever
	tracers["may"] = mayTrace
}

// tryOnce says how an attach went.
func tryOnce() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	s, err := Attach(context.Background(), pid)
	if err == nil {
		err = s.Detach()
	}
	fmt.Println(err)
}

// mayTrace says whether a tracer of this process's user may have a process.
func mayTrace() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	p, err := access.PeerOf(os.Getpid(), uint32(os.Getuid()), uint32(os.Getgid()))
	fmt.Println(errors.Join(err, access.MayTrace(p, pid)))
}

// holdForever traces a process until its standard input ends.
func holdForever() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	s, err := Attach(context.Background(), pid)
	fmt.Println(err)
	os.Stdin.Read(make([]byte, 1))
	if err == nil {
		s.Detach()
	}
}

// tracer runs this program in one of its parts.
func tracer(part string, victim int) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), tracerEnv+"="+part, victimEnv+"="+strconv.Itoa(victim))
	cmd.Stderr = os.Stderr
	return cmd
}

func refused(t *testing.T, pid int, want error, detail string) {
	t.Helper()
	s, err := Attach(context.Background(), pid)
	if err == nil {
		s.Detach()
		t.Fatalf("attached to %d; want %v", pid, want)
	}
	var a *AttachError
	if !errors.Is(err, want) || !errors.As(err, &a) || a.PID != pid || !strings.Contains(err.Error(), detail) {
		t.Errorf("attach to %d: %v; want %v with %q", pid, err, want, detail)
	}
	if f := Diagnose(pid); len(f) != 1 || f[0].OK || !strings.Contains(f[0].Text, want.Error()) {
		t.Errorf("diagnosis %+v; want %v", f, want)
	}
}

// TestRefused attaches to what can't be.
func TestRefused(t *testing.T) {
	refused(t, os.Getpid(), ErrSelf, "")
	refused(t, 1<<22+1, ErrGone, "")

	if strings.HasPrefix(field(2, "Name"), "kthreadd") {
		refused(t, 2, ErrKernel, "kthreadd")
	}
	p := launch(t, "threads", "2", "0")
	if tids, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", os.Getpid())); len(tids) > 1 {
		tid, _ := strconv.Atoi(tids[len(tids)-1].Name())
		if s, err := Attach(context.Background(), tid); err == nil {
			s.Detach()
			t.Error("attached to a thread of ours")
		}
	}
	p.goOn()
}

// TestRefusedZombie attaches to a process that has ended and that its parent has not waited for.
func TestRefusedZombie(t *testing.T) {
	cmd := exec.Command(fixture.Path(t, "loop"), "0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "a zombie", func() bool { return procfs.State(cmd.Process.Pid) == 'Z' })
	refused(t, cmd.Process.Pid, ErrZombie, "loop")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestRefusedWaited attaches to a child that another goroutine waits for.
func TestRefusedWaited(t *testing.T) {
	cmd := exec.Command(fixture.Path(t, "loop"), "0", "wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	until(t, "the wait", func() bool {
		return errors.Is(refuse(cmd.Process.Pid), ErrWaited)
	})
	refused(t, cmd.Process.Pid, ErrWaited, "engine.Start")
	in.Close()
	if err := <-done; err != nil {
		t.Errorf("the program has noticed: %v", err)
	}
}

// TestRefusedTraced attaches to what another session, or another program, traces.
func TestRefusedTraced(t *testing.T) {
	p := launch(t, "loop", "1")
	s := attach(t, p.pid)
	refused(t, p.pid, ErrTraced, strconv.Itoa(os.Getpid()))
	detach(t, s)
	other := tracer("hold", p.pid)
	in, _ := other.StdinPipe()
	out, _ := other.StdoutPipe()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, _ := out.Read(buf); string(buf[:n]) != "<nil>\n" {
		t.Errorf("the other: %s", buf[:n])
	}
	refused(t, p.pid, ErrTraced, strconv.Itoa(other.Process.Pid))
	in.Close()
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
	detach(t, attach(t, p.pid))
}

// TestRefusedCycle has a traced process try to trace its tracer.
func TestRefusedCycle(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), tracerEnv+"=cycleback", victimEnv+"="+strconv.Itoa(os.Getpid()))
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), ErrCycle.Error()) {
		t.Errorf("%q, %v", out, err)
	}
}

func init() { tracers["cycleback"] = cycleBack }

// cycleBack has a child trace this process, and tries to attach to that child.
func cycleBack() {
	hold := tracer("hold", os.Getpid())
	in, _ := hold.StdinPipe()
	out, _ := hold.StdoutPipe()
	if err := hold.Start(); err != nil {
		fmt.Println(err)
		return
	}
	out.Read(make([]byte, 100))
	_, err := Attach(context.Background(), hold.Process.Pid)
	fmt.Println(err)
	in.Close()
	hold.Wait()
}

// TestRefusedUser attaches as another user, which is not permitted.
func TestRefusedUser(t *testing.T) {
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to become another user")
	}
	p := launch(t, "loop", "1")
	cmd := tracer("try", p.pid)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), ErrOtherUser.Error()) {
		t.Errorf("%q, %v", out, err)
	}
	p.goOn()
	if out, status := p.end(); status != 0 {
		t.Errorf("%q, status %d", out, status)
	}
}

// TestRefusedUndumpable asks, as its user, for a process that is not dumpable: its user
// namespace can't be read by that user, and is not what is in the way.
func TestRefusedUndumpable(t *testing.T) {
	if os.Getuid() != 0 {
		skip.Missing(t, "root, to become another user")
	}
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for mode, want := range map[os.FileMode]error{0o711: ErrUndumpable, 0o755: nil} {
		dir, err := os.MkdirTemp("", "undumpable") // TempDir's is for this user alone
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := dir + "/loop"
		b, err := os.ReadFile(fixture.Path(t, "loop"))
		if err := errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(path, b, 0o755), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		victim := exec.Command(path, "1", "wait")
		victim.SysProcAttr = nobody
		in, _ := victim.StdinPipe()
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		cmd := tracer("may", victim.Process.Pid)
		cmd.SysProcAttr = nobody
		out, err := cmd.Output()
		if said := string(out); err != nil || want != nil && !strings.Contains(said, want.Error()) || want == nil && said != "<nil>\n" && !strings.Contains(said, ErrYama.Error()) {
			t.Errorf("mode %o: %q, %v; want %v", mode, out, err, want)
		}
		in.Close()
		_ = victim.Wait()
	}
}

// TestRecover kills a tracer that has planted; the next one cleans up.
func TestRecover(t *testing.T) {
	for _, k := range []struct{ fixture, where string }{{"threads", "work"}, {"threads-static", "work"}, {"gowork", "main.work"}} {
		t.Run(k.fixture, func(t *testing.T) {
			args := []string{"3", "3000", "300"}
			want, _ := alone(t, k.fixture, args...)
			p := launch(t, k.fixture, args...)
			text, caught := textOf(t, p.pid), field(p.pid, "SigCgt")
			cmd := tracer("plant", p.pid)
			cmd.Env = append(cmd.Env, probesEnv+"="+k.where+"+*")
			out, _ := cmd.StdoutPipe()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			if n, _ := out.Read(buf); string(buf[:n]) != "<nil>\n" {
				t.Fatalf("the other: %s", buf[:n])
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			if now := textOf(t, p.pid); now[""] == text[""] {
				t.Error("nothing was left to clean")
			}
			s := attach(t, p.pid)
			id := register(t, s, ProbeSpec{Location: k.where})
			detach(t, s)
			isClean(t, p.pid, text, caught)
			p.goOn()
			if out, status := p.end(); out != want || status != 0 || s.Hits(id) != 0 {
				t.Errorf("%q, status %d, want %q", out, status, want)
			}
		})
	}
}

func init() { tracers["plant"] = plantAndWait }

// plantAndWait plants and waits to be killed.
func plantAndWait() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	s, err := Attach(context.Background(), pid)
	if err == nil {
		_, err = s.Register(ProbeSpec{Location: os.Getenv(probesEnv)})
	}
	fmt.Println(err)
	select {}
}
