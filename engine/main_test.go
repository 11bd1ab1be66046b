package engine

import (
	"os"
	"testing"

	"github.com/ptracer/ptracer/internal/leak"
)

// TestMain has all tests that do not ask for a rung run with traps where
// PTRACER_TEST_TRAPS is set: jumps take most sites otherwise.
func TestMain(m *testing.M) {
	jumping = os.Getenv("PTRACER_TEST_TRAPS") == "" && canJump()
	if run := tracers[os.Getenv(tracerEnv)]; run != nil {
		run()
		return
	}
	leak.Main(m)
}
