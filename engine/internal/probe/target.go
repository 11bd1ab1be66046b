package probe

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// Target is one address to be planted for a probe.
type Target struct {
	Place
	Orig []byte
	Why  string // why it is not quite where it was asked for
	Gap  string
	// IFunc is the resolver that is there: what that gives back is meant. Its name is
	// binary and shown.
	IFunc         *IFunc
	Binary, Shown string
}

// At is a target of the engine's own.
func At(addr arch.Addr, orig []byte, name string) Target {
	return Target{Place: Place{Addr: addr, Name: name}, Orig: orig}
}

// Placement is a probe's at a target, served by nothing yet.
func (sp *Target) Placement(p *Probe, proc *inferior.Process) *Placement {
	return &Placement{Probe: p, Proc: proc, Place: sp.Place, Why: sp.Why, Gap: sp.Gap}
}

// Found are the targets of a probe in an object that was loaded with a bias, by a path.
type Found struct {
	Bias  arch.Addr
	Path  string
	Spots []Target
}
