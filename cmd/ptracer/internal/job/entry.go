package job

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/procfs"
)

// atEntry is the key of a program's first own instruction in its auxiliary
// vector (AT_ENTRY of <elf.h>).
const atEntry = 9

// entryPoint is where a started program will begin once the dynamic loader has
// mapped the libraries it was linked with.
func entryPoint(pid int) (arch.Addr, error) {
	auxv, err := os.ReadFile(procfs.Path(pid, "auxv"))
	if err != nil {
		return 0, err
	}
	var pair [2]uint64
	for r := bytes.NewReader(auxv); binary.Read(r, binary.NativeEndian, &pair) == nil; {
		if pair[0] == atEntry && pair[1] != 0 {
			return arch.Addr(pair[1]), nil
		}
	}
	return 0, fmt.Errorf("no entry point in the auxiliary vector of %d", pid)
}

// toEntry runs the command to its entry point, where all libraries that it was
// linked with are there, so that what is asked for can be told from what does
// not exist. It returns false if the command runs on, or has ended already.
func (j *Job) toEntry() (stands bool) {
	resume := func() { _ = j.Session.Resume(j.child) } // gone: then its end is told
	entry, err := entryPoint(j.child)
	if err != nil {
		resume()
		return false
	}
	spec := engine.ProbeSpec{Location: fmt.Sprintf("*%#x", uint64(entry)), PID: j.child, Action: engine.ActionStop}
	if j.Options.Method.Rung == breakpoint.Hardware {
		spec.Rung = breakpoint.Hardware // not a byte of the program is to change
	}
	id, err := j.Session.Register(spec)
	if err != nil {
		resume()
		return false
	}
	resume()
	select {
	case <-j.entered:
		_ = j.Session.Unregister(id)
		return true
	case <-j.drained:
		return false
	case s := <-j.signals: // to be answered when the job waits
		j.signals <- s
		return false
	}
}
