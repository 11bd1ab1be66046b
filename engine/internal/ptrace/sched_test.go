package ptrace

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestSched(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if n := Runnable(); n < 1 || n > 10000 {
		t.Errorf("%d tasks run, and this is one", n)
	}
	if n := OwnRunnable(); n < 1 || n > 1000 {
		t.Errorf("%d threads of ours run, and this is one", n)
	}
	if n := CPUs(); n < runtime.NumCPU() || n > 1<<16 {
		t.Errorf("%d CPUs, %d are ours", n, runtime.NumCPU())
	}
	mask := Affinity()
	defer SetAffinity(&mask)
	for cpu := range CPUs() {
		if !mask.IsSet(cpu) {
			continue
		}
		if err := SetCPU(cpu); err != nil {
			t.Fatal(err)
		}
		if got := LastCPU(ThreadID()); got != cpu {
			t.Errorf("on CPU %d, tied to %d", got, cpu)
		}
	}
	if got := LastCPU(1 << 30); got != -1 {
		t.Errorf("no such task was on CPU %d", got)
	}
}

// TestRunDelay shares a CPU with a thread that keeps it busy.
func TestRunDelay(t *testing.T) {
	if _, err := os.Stat("/proc/thread-self/schedstat"); err != nil {
		t.Log("the kernel does not count it")
		if RunDelay() != 0 {
			t.Error("a delay from nowhere")
		}
		return
	}
	var done atomic.Bool
	delays := make(chan int64, 2)
	busy := func() {
		runtime.LockOSThread() // never unlocked: the thread with its affinity ends
		if err := SetCPU(0); err != nil {
			t.Error(err)
		}
		for !done.Load() {
		}
		delays <- RunDelay()
	}
	go busy()
	go busy()
	time.Sleep(50 * time.Millisecond)
	done.Store(true)
	if sum := <-delays + <-delays; sum < int64(10*time.Millisecond) || sum > int64(10*time.Minute) {
		t.Errorf("two threads on one CPU waited for %v of 50 ms", time.Duration(sum))
	}
}

func TestField(t *testing.T) {
	for _, c := range []struct {
		line string
		i    int
		want string
	}{
		{"1 22  333\n", 0, "1"}, {"1 22  333\n", 1, "22"}, {"1 22  333\n", 2, "333"}, {"1 22  333\n", 3, ""},
		{"", 0, ""}, {"", 5, ""}, {" 1", 0, "1"}, {"1", 1, ""},
	} {
		if got := string(field([]byte(c.line), c.i)); got != c.want {
			t.Errorf("field %d of %q is %q, want %q", c.i, c.line, got, c.want)
		}
	}
	if n := number([]byte("42/7")); n != 42 {
		t.Errorf("42/7 starts with %d", n)
	}
}

func TestLastCPU(t *testing.T) {
	if cpu := LastCPU(os.Getpid()); cpu < 0 || cpu >= CPUs() {
		t.Error(cpu)
	}
	if cpu := LastCPU(1 << 30); cpu != -1 {
		t.Errorf("nobody ran on CPU %d", cpu)
	}
}
