package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

func init() { tracers["traps"] = trapForever }

// trapForever has traps in a process and its children until it is killed.
func trapForever() {
	pid, _ := strconv.Atoi(os.Getenv(victimEnv))
	s, err := Attach(context.Background(), pid, Options{Follow: true})
	if err == nil {
		_, err = s.Register(ProbeSpec{Location: os.Getenv(probesEnv), Rung: breakpoint.Slot})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Println("go")
	time.Sleep(time.Hour)
}

// TestSurviveCleared kills the tracer of a child that was made without handlers
// (CLONE_CLEAR_SIGHAND): it has a guard nevertheless, and goes on over its traps.
func TestSurviveCleared(t *testing.T) {
	if out, status := alone(t, "forker", "clear", "1", "1"); status != 0 {
		skip.Missing(t, "clone3 with CLONE_CLEAR_SIGHAND: "+out)
	}
	path := fixture.Path(t, "forker")
	for round := range 5 {
		surviveCleared(t, round, path)
	}
}

func surviveCleared(t *testing.T, round int, path string) {
	var out bytes.Buffer
	victim := exec.Command(path, "clear", "1", pace("100000", "5000"), "wait")
	victim.Stdout = &out
	start, err := victim.StdinPipe()
	if err == nil {
		err = victim.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	tracer := exec.Command("/proc/self/exe", "-test.run=^$")
	tracer.Env = append(os.Environ(), tracerEnv+"=traps", probesEnv+"=work", victimEnv+"="+strconv.Itoa(victim.Process.Pid))
	tracer.Stderr = os.Stderr
	ready, err := tracer.StdoutPipe()
	if err == nil {
		err = tracer.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ready.Read(make([]byte, 3))
	start.Write([]byte{'\n'})
	// It has had its first stop when it has a handler; that is where it got it.
	for until := time.Now().Add(pace(time.Second, 20*time.Second)); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if caught, err := guard.CatchesTrap(childOf(victim.Process.Pid)); caught && err == nil {
			break
		}
	}
	time.Sleep(time.Duration(round) * time.Millisecond)
	running := childOf(victim.Process.Pid) != 0
	_ = tracer.Process.Kill()
	_ = tracer.Wait()
	err = victim.Wait()
	if !running {
		t.Error("the child has ended before its tracer")
	}
	if err != nil || said(t, out.String(), "status") != 0 {
		t.Errorf("round %d: %v, %q", round, err, out.String())
	}
}
