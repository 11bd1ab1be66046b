package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/internal/skip"
)

// TestUnit has systemd read the units of the server for all users, and rate what they
// restrict: from 0, nothing is left, to 100.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		skip.Missing(t, "systemd-analyze")
	}
	const service, exposed = "../../contrib/systemd/ptracer.service", "70"
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold="+exposed, service).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "unrecognized option") || strings.Contains(string(out), "Failed to initialize") {
			skip.Missing(t, "a systemd-analyze that rates files")
		}
		t.Errorf("%v: %s", err, out)
	}
	out, _ := exec.Command(analyze, "verify", service, "../../contrib/systemd/ptracer.socket").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "ptracer.") && !strings.Contains(line, "is not executable") { // it is not installed here
			t.Errorf("verify: %s", line)
		}
	}
}
