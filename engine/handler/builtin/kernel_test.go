package builtin

import (
	"runtime"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/skip"
)

// available skips a test if the kernel does not permit eBPF.
func available(t *testing.T) {
	t.Helper()
	if err := kernel.Available(); err != nil {
		skip.Missing(t, err.Error())
	}
}

// The kernel's verifier accepts every handler; a change of registers only if it
// is new enough.
func TestKernelAccepts(t *testing.T) {
	available(t)
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			h, err := m.make(t, context(t, runtime.GOARCH))
			if err != nil {
				t.Fatal(err)
			}
			in, err := kernel.Load(both(h)...)
			if err != nil {
				log, _ := kernel.Check(h.At(h.First()))
				if strings.HasPrefix(m.name, "override") && strings.Contains(log, "invalid bpf_context access") {
					skip.Missing(t, "a kernel that lets uprobe programs change registers")
				}
				t.Fatalf("%v\n%s", err, log)
			}
			in.Close()
		})
	}
}

// both are a handler's programs.
func both(h *build.Handler) (list []*program.Program) {
	for _, p := range []*program.Program{h.Entry, h.Exit} {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}
