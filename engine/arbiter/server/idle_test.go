package server

import (
	"errors"
	"testing"

	"github.com/ptracer/ptracer/engine/arbiter"
)

// TestIdleInUse lets the time of an idle server run out while a client is about to become a tracer,
// and then without any.
func TestIdleInUse(t *testing.T) {
	s := New(Options{})
	ends := func() bool {
		select {
		case <-s.ending:
			return true
		default:
			return false
		}
	}
	if err := s.use(); err != nil {
		t.Fatal(err)
	}
	if s.endIdle(); ends() {
		t.Error("it ends while somebody attaches")
	}
	s.unuse()
	if s.endIdle(); !ends() {
		t.Error("it does not end")
	}
	if err := s.use(); !errors.Is(err, arbiter.ErrClosed) {
		t.Errorf("used at its end: %v", err)
	}
}
