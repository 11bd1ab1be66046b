package maps

import "github.com/ptracer/ptracer/engine/handler/ring"

// A set's clock: what the CPUs' counter of time means in nanoseconds, for code
// that asks no kernel. Whoever reads takes ClockSeq before and behind the others,
// again as long as it is odd or differs; there is one writer.
//
//	ns = ClockNanos + (counter - ClockCycles) * ClockMul >> ClockShift
const (
	OffClock = 64 // in the region

	ClockSeq    = 0
	ClockCycles = 8
	ClockNanos  = 16
	ClockMul    = 24
)

// ClockShift is such that ClockMul has 32 bits for any counter that there is:
// amd64's go at 0.5 GHz and more, arm64's at 1 to 1000 MHz.
func ClockShift(arch string) int {
	if arch == "amd64" {
		return 30
	}
	return 22
}

// SetClock writes the clock.
func (s *Set) SetClock(cycles, nanos, mul uint64) {
	b := s.region.Bytes()
	seq := ring.Word(b, OffClock+ClockSeq)
	seq.Add(1)
	ring.Word(b, OffClock+ClockCycles).Store(cycles)
	ring.Word(b, OffClock+ClockNanos).Store(nanos)
	ring.Word(b, OffClock+ClockMul).Store(mul)
	seq.Add(1)
}
