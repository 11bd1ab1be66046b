package inproc

import (
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Tally is a counter that threads of the program add to.
type Tally struct {
	Of    *handler.Counters
	N     int
	Users int // placements
}

func (c *Tally) Count() uint64 { return c.Of.Count(c.N) }

// CloseCounters gives the memory of counters back.
func (x *InProcess) CloseCounters() {
	x.lostHits = x.Lost()
	for _, c := range x.counters {
		_ = c.Close()
	}
	x.counters = nil
}

// Lost is how many hits are in no count.
func (x *InProcess) Lost() uint64 {
	if len(x.counters) > 0 {
		return x.counters[0].Set().Lost()
	}
	return x.lostHits
}

// Spares is how many counters there are that nobody uses.
func (x *InProcess) Spares() int { return len(x.spare) }

// TakeCounter gets a counter that nobody uses.
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

// moreCounters makes a set of them.
func (x *InProcess) moreCounters() error {
	ctx, err := program.ContextOf(x.isa.Name())
	if err != nil {
		return err
	}
	var lines *maps.Set // the first counters have the next free one
	if len(x.counters) > 0 {
		lines = x.counters[0].Set()
	}
	c, err := handler.NewCounters(ctx, lines, x.NewFile)
	if err == nil {
		x.counters = append(x.counters, c)
	}
	return err
}

// SpareCounters keeps counters for others to whose code nothing leads any more.
// Forked children that were made while nobody traced may count on.
func (x *InProcess) SpareCounters(unused []*Tally) {
	if !x.Resident && !x.WentAside {
		x.spare = append(x.spare, unused...)
	}
}
