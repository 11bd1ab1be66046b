package engine

import (
	"os"
	"testing"

	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) {
	if run := tracers[os.Getenv(tracerEnv)]; run != nil {
		run()
		return
	}
	leak.Main(m)
}
