package ptrace

import "testing"

// TestKept covers other kernels; engine.TestTraps asks the running one.
func TestKept(t *testing.T) {
	for release, clears := range map[string]bool{"5.10.0-30-amd64": false, "5.11.0": true, "6.1": true, "4.19.1": false, "strange": true} {
		if clearsFlagsIn(release) != clears {
			t.Error(release)
		}
	}
	a := SigAction{Handler: 77, Flags: SaResetHand | 0x400, Mask: ^uint64(0)}
	if k := a.Kept(); k.Handler != 77 || k.Mask != ^uint64(1<<8|1<<18) {
		t.Errorf("%+v", k)
	}
	if c := a.Cleared(); c != (SigAction{}) {
		t.Errorf("%+v", c)
	}
	a.Handler = SigIgn
	if c := a.Cleared(); c != (SigAction{Handler: SigIgn}) {
		t.Errorf("%+v", c)
	}
}
