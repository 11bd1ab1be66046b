package probe

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// Target is an address that was found for a probe.
type Target struct {
	Place
	Orig []byte // the file's bytes there; nil: not known
	Why  string // why it is not the address that was asked for, or has a slower method
	Gap  string // which of its hits will not be counted, and why
	// IFunc is the resolver at the address; nil: it is no resolver. The probe is for the function
	// that the resolver returns, which is shown as Binary and Shown.
	IFunc         *IFunc
	Binary, Shown string
	// Bound is what the expressions of the probe's handler mean there, if they have names; Unbound is why
	// they mean nothing.
	Bound   *builtin.Bound
	Unbound error
}

// At returns a target of the engine's own.
func At(addr arch.Addr, orig []byte, name string) Target {
	return Target{Place: Place{Addr: addr, Name: name}, Orig: orig}
}

// Placement returns a placement of a probe at a target. Nothing serves it yet.
func (sp *Target) Placement(p *Probe, proc *inferior.Process) *Placement {
	return &Placement{Probe: p, Proc: proc, Place: sp.Place, Why: sp.Why, Gap: sp.Gap}
}

// Found has the targets of a probe in an object, for the next process that has loaded the object at
// the same bias, by the same path.
type Found struct {
	Bias  arch.Addr
	Path  string
	Spots []Target
}
