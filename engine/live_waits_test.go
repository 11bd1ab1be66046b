package engine

import (
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
)

// TestWaits attaches to a program again and again, and stops it. Its threads wait in system calls
// that a stop ends with EINTR. The calls go on, except one that a handler interrupts.
func TestWaits(t *testing.T) {
	if hostISA().MinInst() != 1 {
		skip.Missing(t, "a kernel that decides behind a stop whether a call goes on (amd64)")
	}
	p := launch(t, "waits")
	asleep := func() {
		until(t, "all threads asleep", func() bool {
			tids, err := procfs.Tasks(p.pid)
			for _, tid := range tids {
				call, _ := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/syscall")
				if procfs.State(tid) != 'S' || len(call) == 0 || call[0] == '-' || call[0] == 'r' {
					return false
				}
			}
			return err == nil && len(tids) == 8
		})
	}
	for range 5 {
		asleep()
		s := attach(t, p.pid)
		id := register(t, s, ProbeSpec{Location: "main+*"})
		asleep()
		if err := errors.Join(s.Interrupt(p.pid), s.Resume(p.pid), s.Unregister(id)); err != nil {
			t.Fatal(err)
		}
		asleep()
		detach(t, s)
	}
	asleep()
	attach(t, p.pid) // signals come by it
	p.goOn()
	out, status := p.end()
	if status != 0 || said(t, out, "eintr") != 0 || said(t, out, "wrong") != 0 || said(t, out, "handled") != 1 {
		t.Errorf("status %d, %s", status, out)
	}
}
