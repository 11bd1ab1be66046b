package engine

import (
	"os"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/internal/leak"
)

// TestMain has all tests that do not ask for a rung run with traps where
// PTRACER_TEST_TRAPS is set: jumps take most sites otherwise. With a number in
// PTRACER_TEST_LATE each wait of theirs is late, as that number has it.
func TestMain(m *testing.M) {
	jump.Enabled = os.Getenv("PTRACER_TEST_TRAPS") == "" && canJump()
	if seed, err := strconv.ParseUint(os.Getenv("PTRACER_TEST_LATE"), 10, 64); err == nil {
		ptrace.BeLate(seed)
	}
	if run := tracers[os.Getenv(tracerEnv)]; run != nil {
		run()
		return
	}
	leak.Main(m)
}
