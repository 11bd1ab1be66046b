package maps

import "github.com/ptracer/ptracer/engine/handler/ring"

// A set's clock: what the CPUs' counter of time means in nanoseconds, for code
// that asks no kernel. It is two lines, of which the newer one holds from its
// ClockCycles on, the older one before:
//
//	ns = ClockNanos + (counter - ClockCycles) * ClockMul >> ClockShift
//
// ClockSeq says which is the newer (bit 1), and whether the other is being
// written (bit 0): then the newer holds for all. Who reads takes it before and
// behind, and again if it has changed. So nobody waits for a writer, who may have
// died; and there is one.
const (
	OffClock = 64 // in the region

	ClockSeq    = 0
	ClockCycles = 16 // of line 0; line 1 has all its words 8 bytes behind
	ClockNanos  = 32
	ClockMul    = 48

	clockNewer = 2
	clockLine  = 8
)

// ClockShift is such that ClockMul has 32 bits for any counter that there is:
// amd64's go at 0.5 GHz and more, arm64's at 1 to 1000 MHz.
func ClockShift(arch string) int {
	if arch == "amd64" {
		return 30
	}
	return 22
}

// SetClock adds a line to the clock, in the place of the older one.
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
