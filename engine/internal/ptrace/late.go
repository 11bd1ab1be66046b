package ptrace

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// lateness is how waits are late; nil: they are not.
var lateness atomic.Pointer[late]

type late struct {
	mu sync.Mutex
	r  *rand.Rand
}

// BeLate is for tests: from now on each wait is late, by nothing or by up to some
// milliseconds, and what is told first may not be what has stopped first. The same seed
// makes the same choices.
func BeLate(seed uint64) { lateness.Store(&late{r: rand.New(rand.NewPCG(seed, 0))}) }

// wait is before a wait, and behind one for any task. It reports whether that is to be asked
// for again: another may have stopped by then, which the kernel tells first.
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
