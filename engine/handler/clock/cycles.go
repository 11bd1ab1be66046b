package clock

// cycles is the CPU's counter of time, which all CPUs share.
func cycles() uint64
