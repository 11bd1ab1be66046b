package heap

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGarbage(t *testing.T) {
	for inUse, want := range map[uint64]int{0: 200, 1 << 20: 200, 16 << 20: 200, 64 << 20: 62, 128 << 20: 31, 256 << 20: 25, 4 << 30: 25} {
		if got := garbagePercent(inUse); got != want {
			t.Errorf("%d in use: %d percent, want %d", inUse, got, want)
		}
	}
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	KeepGarbage()
	held := make([]byte, 300<<20)
	for end := time.Now().Add(100 * time.Second); ; {
		runtime.GC()
		percent := debug.SetGCPercent(-1)
		debug.SetGCPercent(percent)
		if percent < 50 && percent >= leastHeap {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d percent with %d MiB in use", percent, inUse()>>20)
		}
		time.Sleep(time.Millisecond)
	}
	runtime.KeepAlive(held)
}
