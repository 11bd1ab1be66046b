package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
	"github.com/ptracer/ptracer/internal/skip"
)

// TestKernelEveryInstruction has uprobes on all instructions of hot functions where the kernel can
// have one. The program does what it does without, and as many hits are counted as by probes of
// ptracer's.
func TestKernelEveryInstruction(t *testing.T) {
	if kernel.Available() != nil {
		skip.Missing(t, "eBPF in the kernel")
	}
	for _, c := range []string{"sha256 1", "copy 1", "json 1"} {
		t.Run(c, func(t *testing.T) {
			args := strings.Fields(c)
			where := args[0] + "+*"
			want, ours := countAll(t, "hot-avx", args, where, breakpoint.Auto)
			p := launch(t, "hot-avx", args...)
			s := attach(t, p.pid)
			h := openHandler(t, s, HandlerSpec{Name: "count", Where: handler.Kernel})
			defer h.Close()
			id := register(t, s, ProbeSpec{Location: where, Handler: h})
			p.goOn()
			if out, status := p.end(); status != 0 || out != want {
				t.Errorf("status %d, %q, not %q", status, out, want)
			}
			var sum uint64
			for _, pl := range s.Placements(id) {
				switch {
				case pl.Err == nil:
					sum += ours[pl.Name]
				case !errors.Is(pl.Err, uprobe.ErrInstruction):
					t.Errorf("%s: %v", pl.Name, pl.Err)
				}
			}
			if n := resultOf(t, h).(map[string]any)["hits"]; n != float64(sum) || sum == 0 {
				t.Errorf("%v hits, by probes of ours %d", n, sum)
			}
		})
	}
}
