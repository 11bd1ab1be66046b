package remote

import (
	"errors"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/procfs"
)

const seccompHelp = "run as root (CAP_SYS_ADMIN), outside of containers; with that the filter is suspended for those calls, " +
	"if the kernel has CONFIG_CHECKPOINT_RESTORE and the tracer no filter itself"

// Findings returns the findings about a process that has forbidden itself system calls. sealed
// is the error of an attempt to have it make a call for the tracer.
func Findings(pid int, sealed error) []access.Finding {
	f := access.Finding{Topic: "seccomp", OK: true, Text: "its filter is suspended for the system calls that probes need"}
	switch {
	case errors.Is(sealed, ErrDispatch):
		f = access.Finding{Topic: "dispatch", Text: "it can't be probed: " + ErrDispatch.Error(), Help: "use a newer kernel"}
	case errors.Is(sealed, ErrSeccomp):
		f.OK, f.Text, f.Help = false, "it can't be probed: a filter of its own may kill it for the system calls that probes need", seccompHelp
	case !hasSeal(pid):
		return nil
	case CheckSeccomp(pid) == nil:
		f.Text = "it lives under the filter that ptracer lives under, too"
	}
	return []access.Finding{f}
}

// hasSeal reports whether a process has forbidden itself system calls.
func hasSeal(pid int) bool {
	st, err := procfs.ReadStatus(pid)
	return err == nil && st.Number("Seccomp") != 0
}
