package access

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// Finding is one line of a diagnosis.
type Finding struct {
	Topic string `json:"topic"`
	OK    bool   `json:"ok"`
	Text  string `json:"text"`
	Help  string `json:"help,omitempty"`
}

// Machine says what stands in the way of tracing on this machine. try starts a child and
// traces it.
func Machine(try func() error) (fs []Finding) {
	mode := procfs.Yama()
	texts := map[int]string{-1: "Yama is not active", 0: "Yama mode 0: any process of yours can be traced",
		1: "Yama mode 1: only your own children, unless you have CAP_SYS_PTRACE",
		2: "Yama mode 2: only with CAP_SYS_PTRACE", 3: "Yama mode 3: nothing can be attached until reboot"}
	f := Finding{Topic: "yama", OK: mode <= 0 || mode < 3 && procfs.HasCap(procfs.CapSysPtrace), Text: texts[mode]}
	if !f.OK {
		f.Help = yamaHelp(mode)
	}
	fs = append(fs, f)
	f = Finding{Topic: "capability", OK: procfs.HasCap(procfs.CapSysPtrace), Text: "CAP_SYS_PTRACE is there: processes of other users can be traced"}
	if !f.OK {
		f.Text = "no CAP_SYS_PTRACE: only processes of your own user"
		f.Help = "run as root, or in a container with --cap-add SYS_PTRACE"
	}
	fs = append(fs, f)
	f = Finding{Topic: "ptrace", OK: true, Text: "a child can be started and traced"}
	if err := try(); err != nil {
		f.OK, f.Text, f.Help = false, err.Error(), "a seccomp filter may forbid ptrace or memfd_create (container runtimes: allow the ptrace system call)"
	}
	fs = append(fs, f)
	f = Finding{Topic: "storm", OK: ptrace.CanLeaveIdle(), Text: "tracer and tracee can share a CPU in a storm of stops"}
	if !f.OK {
		f.Text, f.Help = "tracer and tracee can't share a CPU in a storm of stops: each costs more", "CAP_SYS_NICE, or RLIMIT_NICE of 20 or more"
	}
	return append(fs, f)
}

// Refused is the finding about a process that can't be attached.
func Refused(err error) Finding {
	f := Finding{Topic: "attach", Text: err.Error()}
	var a *Error
	if errors.As(err, &a) {
		b := *a
		b.Help = ""
		f.Text, f.Help = b.Error(), a.Help
	}
	return f
}
