package ptrace

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// lateness says how waits are late; nil: they are not.
var lateness atomic.Pointer[late]

type late struct {
	mu sync.Mutex
	r  *rand.Rand
}

// BeLate is for tests. From now on each wait is late by up to some milliseconds, and the stop
// reported first may not be the one that happened first. The same seed makes the same choices.
func BeLate(seed uint64) { lateness.Store(&late{r: rand.New(rand.NewPCG(seed, 0))}) }

// wait runs before each wait, and after a wait for any task. It reports whether to wait again:
// another task may have stopped by then, and the kernel reports that one first.
func (l *late) wait() (again bool) {
	if l == nil {
		return false
	}
	l.mu.Lock()
	n, d, again := l.r.IntN(20), time.Duration(l.r.IntN(300)), l.r.IntN(4) == 0
	l.mu.Unlock()
	switch {
	case n < 10:
	case n < 16:
		Yield()
	case n < 19:
		time.Sleep(d * time.Microsecond)
	default:
		time.Sleep(10 * d * time.Microsecond)
	}
	return again
}
