package inproc

import (
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Tally is one counter, to which threads of the program add.
type Tally struct {
	Of    *handler.Counters
	N     int
	Users int // how many placements count in it
}

// Count returns the sum of what all threads have added.
func (c *Tally) Count() uint64 { return c.Of.Count(c.N) }

// CloseCounters frees the memory of all counters.
func (x *InProcess) CloseCounters() {
	x.lostHits = x.Lost()
	for _, c := range x.counters {
		_ = c.Close()
	}
	x.counters = nil
}

// Lost returns how many hits are in no count, of all counters.
func (x *InProcess) Lost() uint64 {
	if len(x.counters) > 0 {
		return x.counters[0].Set().Lost()
	}
	return x.lostHits
}

// Spares returns how many counters no placement uses.
func (x *InProcess) Spares() int { return len(x.spare) }

// TakeCounter returns a counter that no placement uses.
func (x *InProcess) TakeCounter() (*Tally, error) {
	if n := len(x.spare); n > 0 {
		c := x.spare[n-1]
		x.spare = x.spare[:n-1]
		return c, nil
	}
	if k := len(x.counters); k > 0 {
		if n, ok := x.counters[k-1].Take(); ok {
			return &Tally{Of: x.counters[k-1], N: n}, nil
		}
	}
	if err := x.moreCounters(); err != nil {
		return nil, err
	}
	c := x.counters[len(x.counters)-1]
	n, _ := c.Take()
	return &Tally{Of: c, N: n}, nil
}

// moreCounters makes one more set of counters.
func (x *InProcess) moreCounters() error {
	ctx, err := program.ContextOf(x.isa.Name())
	if err != nil {
		return err
	}
	var slots *maps.Set // the set that says which slot is free: the first
	if len(x.counters) > 0 {
		slots = x.counters[0].Set()
	}
	c, err := handler.NewCounters(ctx, slots, x.NewFile)
	if err == nil {
		x.counters = append(x.counters, c)
	}
	return err
}

// SpareCounters keeps counters, to which no code leads any more, for other placements. It keeps
// none if forked children may still add to them that were made while no tracer was there.
func (x *InProcess) SpareCounters(unused []*Tally) {
	if !x.Resident && !x.WentAside {
		x.spare = append(x.spare, unused...)
	}
}
