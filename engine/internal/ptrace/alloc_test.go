//go:build !race

package ptrace

import (
	"os"
	"testing"
)

// TestNoAllocation: a storm asks these while a task waits. (The race detector
// keeps what would be on the stack elsewhere.)
func TestNoAllocation(t *testing.T) {
	pid := os.Getpid()
	if n := testing.AllocsPerRun(100, func() { LastCPU(pid); RunDelay() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
