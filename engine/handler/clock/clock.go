// Package clock keeps the clocks of sets of maps correct: how to convert the CPUs' counter of time
// into nanoseconds of the monotonic clock, for handlers in traced programs, which do not ask the
// kernel for the time (package maps, SetClock).
//
// A goroutine measures the rate when the first set is added, over the time since the process began or,
// if that is too short or too long ago, over 2 ms; and from then on about once per second while there
// are sets. It may be late on a busy machine: a rate that is wrong by 25 parts in a million is 10 µs
// wrong after 400 ms. A clock never jumps: it continues from what it would have said, a little faster
// or slower, until it is correct. Each change takes effect at a moment in the future.
package clock

import (
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/failure"
)

// errCounter is returned on machines with a counter that is no clock.
var errCounter = failure.Unsupportedf("the CPU's counter of time is no clock here")

// Available returns why there are no clocks on this machine, nil if there are. On amd64 the
// counters of all CPUs must agree and have one constant rate; the kernel uses such counters for its
// own time.
var Available = sync.OnceValue(func() error {
	if runtime.GOARCH == "arm64" {
		return nil
	}
	source, _ := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	if slices.Contains([]string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page"}, strings.TrimSpace(string(source))) {
		return nil
	}
	return errCounter
})

// sample is one moment on both clocks. The moment may be off by half of the cycles that it took to
// read them.
type sample struct{ cycles, nanos, took uint64 }

// now samples both clocks several times and returns the fastest sample.
func now() (best sample) {
	const tries = 32
	least := uint64(math.MaxUint64)
	for range tries {
		var t unix.Timespec
		before := cycles()
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
		if took := cycles() - before; took < least {
			least, best = took, sample{before + took/2, uint64(t.Nano()), took}
		}
	}
	return best
}

// poor reports whether the rate between two samples may be wrong by more than 100 parts in a million:
// where the machine is busy elsewhere, each try of a sample may take long.
func poor(from, to sample) bool {
	return to.cycles <= from.cycles || (from.took+to.took)/2 > (to.cycles-from.cycles)/10_000
}

// begun is when this process began: mostly long enough ago for a good rate when the first set comes.
var begun = func() (s sample) {
	if Available() == nil {
		s = now()
	}
	return s
}()

// measure takes the samples for the first rate: from a moment before, unless that is missing, or too
// long ago for the rate to be what it is now (time daemons change it).
func measure(before sample) (from, to sample) {
	const first, longest, recent = 2 * time.Millisecond, 64 * time.Millisecond, 2 * time.Second
	if to = now(); before.took > 0 && to.nanos-before.nanos < uint64(recent) && !poor(before, to) {
		return before, to
	}
	from = to
	for wait := first; wait <= longest; wait *= 2 {
		time.Sleep(wait)
		if to = now(); !poor(from, to) {
			break
		}
	}
	return from, to
}

// rate is in nanoseconds per cycle.
func rate(from, to sample) float64 {
	return float64(to.nanos-from.nanos) / float64(to.cycles-from.cycles)
}

// keeper has the sets with clocks to keep. It does not keep the sets alive: a set that is not
// referenced any more is dropped.
type keeper struct {
	mu   sync.Mutex
	sets map[weak.Pointer[maps.Set]]bool
	stop chan struct{} // stops the goroutine; nil if there is none
	done chan struct{}

	last  sample // the last sample used for the rate
	line  line   // the present line of the clocks
	older line   // the line before
}

// line is the rule of a clock from a moment on.
type line struct {
	said sample
	rate float64
}

// at is the time that the line gives for a counter value.
func (l line) at(cycles uint64) float64 {
	return float64(l.said.nanos) + float64(int64(cycles-l.said.cycles))*l.rate
}

// ahead is how long before it takes effect a line is written, in ns; less than any pause.
const ahead = 10 * time.Millisecond

var clocks = keeper{sets: map[weak.Pointer[maps.Set]]bool{}}

// Keep keeps a set's clock right until Drop.
func Keep(s *maps.Set) error {
	if err := Available(); err != nil {
		return err
	}
	clocks.keep(s)
	return nil
}

// Drop stops keeping a set's clock; the caller closes the set afterwards.
func Drop(s *maps.Set) { clocks.drop(s) }

func (k *keeper) keep(s *maps.Set) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stop == nil {
		var said sample
		k.last, said = measure(begun)
		k.line = line{said, rate(k.last, said)}
		k.older = k.line
		k.stop, k.done = make(chan struct{}), make(chan struct{})
		go k.run(k.stop, k.done)
	}
	k.sets[weak.Make(s)] = true
	write(s, k.older)
	write(s, k.line)
}

func (k *keeper) drop(s *maps.Set) {
	k.mu.Lock()
	delete(k.sets, weak.Make(s))
	last, done := k.stop != nil && len(k.sets) == 0, k.done
	if last {
		close(k.stop)
		k.stop = nil
	}
	k.mu.Unlock()
	if last {
		<-done
	}
}

func write(s *maps.Set, l line) {
	s.SetClock(l.said.cycles, l.said.nanos, uint64(l.rate*float64(uint64(1)<<maps.ClockShift(runtime.GOARCH))))
}

// run adjusts the clocks regularly, at first often.
func (k *keeper) run(stop, done chan struct{}) {
	defer close(done)
	for pause := 20 * time.Millisecond; ; pause = min(4*pause, time.Second) {
		select {
		case <-stop:
			return
		case <-time.After(pause):
			if !k.tick(stop, min(4*pause, time.Second)) {
				return
			}
		}
	}
}

// tick adjusts the clocks once; it returns false if there are none left.
func (k *keeper) tick(mine chan struct{}, pause time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.adjust(now(), pause)
	for p := range k.sets {
		if s := p.Value(); s != nil {
			write(s, k.line)
		} else {
			delete(k.sets, p)
		}
	}
	if len(k.sets) == 0 && k.stop == mine {
		k.stop = nil
	}
	return k.stop == mine
}

// adjust changes the clocks so that they are correct at the end of the next pause.
func (k *keeper) adjust(at sample, pause time.Duration) {
	const most = float64(time.Millisecond)
	if at.cycles > k.last.cycles && poor(k.last, at) {
		return // the next look is better
	}
	k.older = k.line
	wrong := float64(at.nanos) - k.line.at(at.cycles)
	if at.cycles < k.last.cycles || math.Abs(wrong) > most { // the machine slept
		k.last, k.line.said = at, at
		return
	}
	measured := rate(k.last, at)
	from := at.cycles + uint64(float64(ahead)/measured)
	says := k.line.at(from)
	wrong = float64(at.nanos) + float64(ahead) - says
	k.line = line{sample{cycles: from, nanos: uint64(says)}, measured * (1 + wrong/float64(pause))}
	if pause == time.Second {
		k.last = at
	}
}
