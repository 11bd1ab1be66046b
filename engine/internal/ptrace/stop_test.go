package ptrace

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTake takes the stop of a task that has been killed meanwhile: its end is still reported.
func TestTake(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b, err := NewBell()
	if err != nil {
		t.Fatal(err)
	}
	b.Ring()
	if s, _, err := Wait(b.pid, true); err != nil || s.Kind != Signal || s.Signal != unix.SIGUSR1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := Kill(b.pid); err != nil {
		t.Fatal(err)
	}
	// Its exit waits to be taken, and stays.
	var info SigInfo
	if errno := waitid(b.pid, &info, unix.WEXITED|unix.WALL|unix.WNOTHREAD|unix.WNOWAIT, true); errno != 0 {
		t.Fatal(errno)
	}
	Take(b.pid)
	for start := time.Now(); ; {
		s, ok, err := Wait(b.pid, false)
		if err != nil || time.Since(start) > 10*time.Second {
			t.Fatalf("its end was lost: %v", err)
		}
		if ok {
			if s.Kind != Killed || s.Signal != unix.SIGKILL {
				t.Errorf("%+v", s)
			}
			break
		}
	}
	if _, _, err := Wait(b.pid, false); err == nil {
		t.Error("it has not gone")
	}
}

// TestEnded asks for the end of a task that is in a stop: the stop is still reported later, and so
// is the end.
func TestEnded(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b, err := NewBell()
	if err != nil {
		t.Fatal(err)
	}
	b.Ring()
	if s, _, err := Wait(b.pid, true); err != nil || s.Kind != Signal {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, ok := Ended(b.pid); ok {
		t.Errorf("a task that has stopped has ended: %+v", s)
	}
	if s, ok, err := Wait(b.pid, false); err != nil || !ok || s.Kind != Signal || s.Signal != unix.SIGUSR1 {
		t.Fatalf("its stop is lost: %+v, %v, %v", s, ok, err)
	}
	if err := Kill(b.pid); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; Yield() {
		if s, ok := Ended(b.pid); ok {
			if s.Kind != Killed || s.Signal != unix.SIGKILL {
				t.Errorf("%+v", s)
			}
			return
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("its end is not told")
		}
	}
}

// TestNow: the engine's time is CLOCK_MONOTONIC.
func TestNow(t *testing.T) {
	early, late := int64(-1<<62), int64(1<<62)
	for range 1000 {
		before := Monotonic()
		now := Now()
		after := Monotonic()
		early, late = max(early, before-now), min(late, after-now)
	}
	const most = 10000 // ns; reading a clock takes some tens, on an emulated machine more
	if early > most || late < -most {
		t.Errorf("it is behind by %d ns, or ahead by %d", early, -late)
	}
}
