package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/bench/internal/contender"
	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// probing is a probe of the engine's: how its site is served, and what runs at a hit.
type probing struct {
	rung    breakpoint.Rung
	action  engine.Action
	where   handler.Where
	handler string // "": it only counts
	exprs   []string
	pin     bool // the program is bound to a CPU, as users can do with taskset
}

// errNoCall is returned for a handler that works on calls.
var errNoCall = errors.New("a call has a start and an end: it is measured at functions' starts only")

// engineProbe is a running probing, in a session of its own.
type engineProbe struct {
	s       engine.Session
	id      event.ProbeID
	h       engine.Handler
	told    func() uint64 // hits as the handler counts them; nil: as the probe does
	reading sync.WaitGroup
	over    chan struct{}
}

func (o probing) open(p *target.Process, s target.Site) (contender.Probe, error) {
	if o.handler == "latency" && s.Off != 0 {
		return nil, errNoCall
	}
	session, err := engine.Attach(context.Background(), p.PID)
	if err != nil {
		return nil, err
	}
	e := &engineProbe{s: session, over: make(chan struct{})}
	if err := o.plant(e, p, s); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (o probing) plant(e *engineProbe, p *target.Process, s target.Site) (err error) {
	if o.pin {
		if err := p.Pin(target.LastCPU()); err != nil {
			return err
		}
	}
	spec := engine.ProbeSpec{Location: s.Location(), Rung: o.rung, Action: o.action}
	if o.action == engine.ActionTell {
		spec.Args = make([]engine.Arg, 2)
		e.reading.Go(e.listen)
	}
	if o.handler != "" {
		spec.Rung = breakpoint.Auto
		if err := o.openHandler(e); err != nil {
			return err
		}
		spec.Handler = e.h
	}
	if e.id, err = e.s.Register(spec); err != nil {
		return err
	}
	for _, pl := range e.s.Placements(e.id) {
		if o.rung == breakpoint.Jump && pl.Rung != breakpoint.Jump && pl.Rung != breakpoint.Pun {
			return fmt.Errorf("no jump there: %s", pl.Reason)
		}
	}
	return nil
}

func (o probing) openHandler(e *engineProbe) error {
	spec := engine.HandlerSpec{Name: o.handler, Where: o.where, Params: builtin.Params{Exprs: o.exprs}}
	if o.handler == userProgram {
		h, err := callsByArgument()
		if err != nil {
			return err
		}
		spec.Name, spec.Handler = "", h
	}
	h, err := e.s.OpenHandler(spec)
	if err != nil {
		return err
	}
	e.h = h
	switch {
	case h.Info().Records:
		n := uint64(0)
		e.reading.Go(func() { n = e.drain() })
		e.told = func() uint64 {
			close(e.over)
			e.reading.Wait()
			e.over = nil
			return n + h.Lost()
		}
	case o.handler == userProgram:
		e.told = func() uint64 { return callsCounted(h) }
	default:
		e.told = func() uint64 { return noted(h) }
	}
	return nil
}

// Hits implements contender.Probe. The number that the handler has recorded must equal the count of
// the probe beside it.
func (e *engineProbe) Hits() (uint64, error) {
	hits := e.s.Hits(e.id)
	if e.told == nil {
		return hits, nil
	}
	if noted := e.told(); noted != hits {
		return 0, fmt.Errorf("%w: the handler noted %d of %d hits", errLost, noted, hits)
	}
	return hits, nil
}

// Close implements contender.Probe.
func (e *engineProbe) Close() error {
	if e.over != nil {
		close(e.over)
	}
	err := e.s.Detach()
	e.reading.Wait()
	if e.h != nil {
		err = errors.Join(err, e.h.Close())
	}
	return err
}

// listen receives events until the session ends.
func (e *engineProbe) listen() {
	for range e.s.Events(context.Background()) {
	}
}

// drain reads records until none are left and no more will come.
func (e *engineProbe) drain() (n uint64) {
	for over := e.over; ; {
		patience, last := 2*time.Millisecond, false
		select {
		case <-over:
			patience, last = 50*time.Millisecond, true
		default:
		}
		_, err := e.h.Read(time.Now().Add(patience))
		switch {
		case err == nil:
			n++
		case last || !errors.Is(err, os.ErrDeadlineExceeded):
			return n
		}
	}
}

// noted is how many hits a built-in handler's result has.
func noted(h engine.Handler) uint64 {
	r, err := h.Result()
	if err != nil {
		return 0
	}
	b, err := json.Marshal(r)
	if err != nil {
		return 0
	}
	var n struct{ Hits, Count uint64 }
	_ = json.Unmarshal(b, &n) // without numbers: no hits
	return max(n.Hits, n.Count)
}

// userProgram stands for a typical user's handler: it counts calls by the last bits of an argument,
// in a hash.
const userProgram = "user program"

func callsByArgument() (*build.Handler, error) {
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	b := build.New("calls", ctx)
	calls := b.Map(program.Map{Name: "calls", Type: program.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 64})
	key, full, arg := b.Slot(8), b.NewLabel(), b.Var()
	b.Arg(arg, 0)
	b.Add(asm.And.Imm(arg, 15)) // few keys, for any value
	b.Store(key, arg)
	b.LookupOrInit(calls, key, full)
	b.Inc(build.At(build.R0, 0))
	b.Stop()
	b.Here(full)
	b.Stop()
	p, err := b.Program()
	if err != nil {
		return nil, err
	}
	return build.One(build.Entry, p, ctx), nil
}

func callsCounted(h engine.Handler) (sum uint64) {
	for row, err := range build.Typed[uint64, uint64](h, "calls") {
		if err == nil {
			for _, v := range row.Values {
				sum += v
			}
		}
	}
	return sum
}
