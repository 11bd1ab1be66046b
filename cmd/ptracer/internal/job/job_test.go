package job

import (
	"os"
	"slices"
	"syscall"
	"testing"
)

func TestEndedBy(t *testing.T) {
	for _, c := range []struct {
		child   int
		signals []os.Signal
		want    []bool
	}{
		{0, []os.Signal{os.Interrupt}, []bool{true}},
		{5, []os.Signal{os.Interrupt, os.Interrupt}, []bool{false, true}},
		{5, []os.Signal{syscall.SIGTERM}, []bool{true}},
		{5, []os.Signal{syscall.SIGHUP}, []bool{true}},
	} {
		j := &Job{child: c.child}
		var got []bool
		for _, s := range c.signals {
			got = append(got, j.endedBy(s))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("child %d, %v: %v, want %v", c.child, c.signals, got, c.want)
		}
	}
}
