package ptrace

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestQuietStops sees the flag set by the first user and cleared by the last.
func TestQuietStops(t *testing.T) {
	set := func() bool {
		var a SigAction
		if errno := sigaction(unix.SIGCHLD, nil, &a); errno != 0 {
			t.Fatal(errno)
		}
		return a.Flags&saNoCldStop != 0
	}
	if set() {
		t.Fatal("on before anybody asked")
	}
	first := QuietStops()
	second := QuietStops()
	if first(); !set() {
		t.Error("off with a user left")
	}
	if second(); set() {
		t.Error("on with no user left")
	}
}
