//go:build !race

package ptrace

import (
	"os"
	"testing"
)

// TestNoAllocation: these calls happen while a task waits. (With the race detector, variables that
// would be on the stack are allocated.)
func TestNoAllocation(t *testing.T) {
	pid := os.Getpid()
	if n := testing.AllocsPerRun(100, func() { LastCPU(pid); RunDelay() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
