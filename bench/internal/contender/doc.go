// Package contender has the ways to count hits that are not ptracer's, for comparison: tracers as
// they are written in C (textbook, and the least that ptrace allows), a jump patched by hand, a
// program that handles its own traps, the kernel's uprobes with perf events, with tracefs and with
// eBPF, a hardware breakpoint.
//
// They share no code with the engine on purpose: a reference that used the engine's door to ptrace
// would be slow where the engine is. So this package, which measures and is no part of how ptracer
// traces, has a door of its own; only package bench may import it.
//
// Each way puts its probe at one site of a waiting target.Process, and returns a Probe. Ways of the
// kernel and patched code count by themselves. A Tracer is a loop on a locked OS thread, since the
// kernel ties a tracee to the thread that attached. Errors say why a way is not available: a table
// shows them in its place.
package contender

import (
	"errors"

	"github.com/ptracer/ptracer/bench/internal/target"
)

// ErrMissing is wrapped by errors that say that this machine, or this user, does not have a way.
var ErrMissing = errors.New("not there")

// Probe is a running way at one site of one Process.
type Probe interface {
	// Hits returns the number of hits so far. The Process waits.
	Hits() (uint64, error)
	// Close removes the probe. The Process is alive, and waits.
	Close() error
}

// plain is a Probe made of functions; nil ones do nothing.
type plain struct {
	hits  func() (uint64, error)
	close func() error
}

func (p plain) Hits() (uint64, error) { return p.hits() }

func (p plain) Close() error {
	if p.close == nil {
		return nil
	}
	return p.close()
}

// Hand writes a jump at a site, to existing code that counts: the least that a jump can cost. Its
// counter is not atomic, so that it counts too few hits with more than one thread.
func Hand(p *target.Process, s target.Site) (Probe, error) {
	if err := p.Write(s.JumpAt, s.Jump); err != nil {
		return nil, err
	}
	return plain{hits: func() (uint64, error) { return p.Patched(), nil }}, nil
}

// Trap makes the program handle a trap at a site by itself, in a handler of SIGTRAP. The Process
// must have been started with one.
func Trap(p *target.Process, s target.Site) (Probe, error) {
	p.Resume(s.Resume)
	if err := p.Write(s.Addr, p.Program.Trap); err != nil {
		return nil, err
	}
	return plain{hits: func() (uint64, error) { return p.Trapped(), nil }}, nil
}
