// Package contender has the ways to count hits that are not ours, for a
// comparison: tracers as they are written in C (textbook, and the least that
// ptrace allows), a jump patched by hand, a program that answers its own traps,
// the kernel's uprobes by perf event, by tracefs and with eBPF, a hardware
// breakpoint.
//
// They share no code with the engine on purpose: a reference that used our
// door to ptrace would be slow where we are. So this package, which measures
// and is no part of how ptracer traces, has a door of its own; nothing but
// package bench may import it.
//
// Mechanism. Each way puts itself at one site of a target.Process that waits,
// and gives a Probe. What counts by itself (kernel, patched code) needs
// nobody; a Tracer is a loop on a locked OS thread, since the kernel ties a
// tracee to the thread that attached. Errors say why a way is not there: they
// are what a table shows in its place.
package contender

import (
	"errors"

	"github.com/ptracer/ptracer/bench/internal/target"
)

// ErrMissing is wrapped by errors that say that this machine, or this user,
// has not got a way.
var ErrMissing = errors.New("not there")

// Probe is a way at work at one site of one Process.
type Probe interface {
	// Hits is what it has counted so far. The Process waits.
	Hits() (uint64, error)
	// Close takes it away. The Process lives, and waits.
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

// Hand writes a jump at a site, to code that counts and is there already: the
// least that a jump can cost. Its counter is plain, so that with more than one
// thread it counts too little.
func Hand(p *target.Process, s target.Site) (Probe, error) {
	if err := p.Write(s.JumpAt, s.Jump); err != nil {
		return nil, err
	}
	return plain{hits: func() (uint64, error) { return p.Patched(), nil }}, nil
}

// Trap has the program answer a trap at a site by itself, in a handler of
// SIGTRAP. The Process must have been started with one.
func Trap(p *target.Process, s target.Site) (Probe, error) {
	p.Resume(s.Resume)
	if err := p.Write(s.Addr, p.Program.Trap); err != nil {
		return nil, err
	}
	return plain{hits: func() (uint64, error) { return p.Trapped(), nil }}, nil
}
