package clock

// cycles reads the CPU's counter of time, which is the same on all CPUs.
func cycles() uint64
