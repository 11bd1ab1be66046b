package inferior

import (
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// TestParts: no two parts of the page, or of the guard's header, lie over each other, and
// each lies in it.
func TestParts(t *testing.T) {
	page := map[string]Part{"answer": PageAnswer, "argument": PageArgument, "path": PagePath, "epoch": PageEpoch,
		"owner": PageOwner, "regions": PageRegions, "magic": PageMagic}
	header := map[string]Part{"restorer": HeaderRestorer, "page": HeaderPage}
	for name, at := range map[string]arch.Addr{"first": arch.GuardFirst, "old": arch.GuardOld, "mask": arch.GuardOldMask,
		"flags": arch.GuardOldFlags, "swallow": arch.GuardSwallow} {
		header[name] = Part{at, 8}
	}
	header["note"] = Part{arch.GuardNote, 24 + len(ptrace.SigInfo{})}
	for _, c := range []struct {
		parts map[string]Part
		size  int
	}{{page, PageSize}, {header, arch.GuardSize}} {
		for a, p := range c.parts {
			if p.Len <= 0 || int(p.At)+p.Len > c.size {
				t.Errorf("%s lies outside: %+v", a, p)
			}
			for b, q := range c.parts {
				if a != b && p.At < q.At+arch.Addr(q.Len) && q.At < p.At+arch.Addr(p.Len) {
					t.Errorf("%s lies over %s: %+v, %+v", a, b, p, q)
				}
			}
		}
	}
	if n := len((&ptrace.SigAction{}).Bytes()); n > PageArgument.Len || n > PageAnswer.Len {
		t.Errorf("an action has %d bytes", n)
	}
}
