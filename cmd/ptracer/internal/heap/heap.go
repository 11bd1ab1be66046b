// Package heap bounds the garbage of ptracer's own memory.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage is made before it is looked for: smallHeap percent of what is in use, and
// no more than mostGarbage where that is more. To look takes CPUs from the traced program: at Go's 100 percent
// it is a quarter of the time where many short processes with many probes come one after the other. Where 77,000 places
// are in use, 200 percent of garbage would be a quarter of a gigabyte.
const (
	smallHeap   = 200
	leastHeap   = 25
	mostGarbage = 40 << 20
)

// KeepGarbage sets the bound, and sets it anew behind each collection, by what is in use then.
func KeepGarbage() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(smallHeap)
	set := smallHeap
	var again func(*sentinel)
	again = func(s *sentinel) {
		if now := garbagePercent(inUse()); now != set {
			set = now
			debug.SetGCPercent(now)
		}
		runtime.SetFinalizer(s, again) // the next collection finds it again
	}
	runtime.SetFinalizer(&sentinel{}, again)
}

// sentinel is garbage by which a collection is noticed.
type sentinel struct{ _ [16]byte }

// garbagePercent is how much garbage there may be where so many bytes are in use.
func garbagePercent(inUse uint64) int {
	if inUse == 0 {
		return smallHeap
	}
	return int(min(max(mostGarbage*100/inUse, leastHeap), smallHeap))
}

// inUse is how many bytes the last collection has found in use.
func inUse() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
