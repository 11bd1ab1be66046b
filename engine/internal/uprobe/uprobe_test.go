package uprobe

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// TestAttachMost: the kernel refuses all places for one. The others are attached all the same, and
// after another error none is tried again.
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
			if isBad != errors.Is(pl.Err, ErrInstruction) || !isBad && attached[uint64(i)] != 1 {
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
