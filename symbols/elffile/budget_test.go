package elffile

import (
	"errors"
	"testing"
)

// TestKept: what is kept of all files of a cache has an end.
func TestKept(t *testing.T) {
	var b Budget
	for range 4 {
		if err := b.Keep(MaxKept / 4); err != nil {
			t.Error(err)
		}
	}
	for _, n := range []uint64{1, MaxKept, 1<<64 - 1} {
		if err := b.Keep(n); !errors.Is(err, ErrBudget) {
			t.Errorf("%d more: %v", n, err)
		}
	}
	if got := b.kept.Load(); got != MaxKept {
		t.Errorf("%d kept", got)
	}
}
