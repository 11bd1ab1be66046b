package maps

import "github.com/ptracer/ptracer/engine/handler/ring"

// A set's clock says how to convert the CPUs' counter of time into nanoseconds, for code that does
// not ask the kernel. It is two lines; the newer one applies from its ClockCycles on, the older one
// before:
//
//	ns = ClockNanos + (counter - ClockCycles) * ClockMul >> ClockShift
//
// ClockSeq says which line is newer (bit 1), and whether the other one is being written (bit 0);
// the newer one then applies to all times. A reader loads ClockSeq before and after it reads, and
// tries again if it has changed. So no reader waits for a writer, which may have died. There is one
// writer.
const (
	OffClock = 64 // in the region

	ClockSeq    = 0
	ClockCycles = 16 // in line 0; in line 1 all words are 8 bytes further on
	ClockNanos  = 32
	ClockMul    = 48

	clockNewer = 2
	clockLine  = 8
)

// ClockShift is the shift for which ClockMul has 32 bits with any existing counter: amd64's run at
// 0.5 GHz and more, arm64's at 1 to 1000 MHz.
func ClockShift(arch string) int {
	if arch == "amd64" {
		return 30
	}
	return 22
}

// SetClock replaces the older line of the clock by a new one.
func (s *Set) SetClock(cycles, nanos, mul uint64) {
	b := s.region.Bytes()
	seq := ring.Word(b, OffClock+ClockSeq)
	n := seq.Load() &^ 1
	line := OffClock
	if n&clockNewer == 0 {
		line += clockLine
	}
	seq.Store(n | 1)
	ring.Word(b, line+ClockCycles).Store(cycles)
	ring.Word(b, line+ClockNanos).Store(nanos)
	ring.Word(b, line+ClockMul).Store(mul)
	seq.Store(n + clockNewer)
}
