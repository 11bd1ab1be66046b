package engine

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/engine/internal/probe"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/internal/skip"
)

// The kernel refuses all places for the sake of one: the others are attached all
// the same, and nobody is tried again for another error.
func TestAttachMost(t *testing.T) {
	for _, bad := range [][]uint64{nil, {0}, {6}, {2, 3}, {0, 1, 2, 3, 4, 5, 6}} {
		places, locs := make([]*probe.Placement, 7), make([]kernel.Location, 7)
		for i := range places {
			places[i], locs[i].Offset = &probe.Placement{}, uint64(i)
		}
		attached := map[uint64]int{}
		err := attachMost(places, locs, func(list []kernel.Location) (*kernel.Link, error) {
			for _, l := range list {
				if slices.Contains(bad, l.Offset) {
					return nil, notSupp
				}
			}
			for _, l := range list {
				attached[l.Offset]++
			}
			return &kernel.Link{}, nil
		})
		if err != nil {
			t.Error(err)
		}
		for i, pl := range places {
			isBad := slices.Contains(bad, uint64(i))
			if isBad != errors.Is(pl.Err, errInstruction) || !isBad && attached[uint64(i)] != 1 {
				t.Errorf("%v: place %d: %v, attached %d times", bad, i, pl.Err, attached[uint64(i)])
			}
		}
	}
	n := 0
	places := []*probe.Placement{{}, {}}
	err := attachMost(places, make([]kernel.Location, 2), func([]kernel.Location) (*kernel.Link, error) { n++; return nil, syscall.EPERM })
	if !errors.Is(err, syscall.EPERM) || n != 1 || !errors.Is(places[1].Err, syscall.EPERM) {
		t.Errorf("%v after %d tries, %v", err, n, places[1].Err)
	}
}

// TestKernelEveryInstruction has uprobes on all instructions of hot functions where
// the kernel can have one: the program does what it does without, and as many hits
// are counted as by probes of ours.
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
				case !errors.Is(pl.Err, errInstruction):
					t.Errorf("%s: %v", pl.Name, pl.Err)
				}
			}
			if n := resultOf(t, h).(map[string]any)["hits"]; n != float64(sum) || sum == 0 {
				t.Errorf("%v hits, by probes of ours %d", n, sum)
			}
		})
	}
}
