package compile

import (
	"os"
	"strings"
)

// callAlign is the stack pointer modulo 16 where a helper starts: behind the
// return address that the call pushed, which the runner has popped.
const callAlign = 8

// hasFeatures is whether the CPU has all features that a target can have.
func hasFeatures() bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && strings.Contains(string(info), " rdpid")
}
