package jump

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/goruntime"
	"github.com/ptracer/ptracer/symbols/unwind"
)

// Where halted tasks will go on that a signal has interrupted: their stacks tell.

// unblocked returns the jumps into the middle of which no task will come back. What a signal has
// interrupted there lies on the task's stack or on its goroutine's. The sites of the other jumps
// are returned as inside.
func (j *Jumps) unblocked(space *inferior.Space, c *resumePoints, ups []*breakpoint.Upgrade) (list []*breakpoint.Upgrade, inside []*breakpoint.Site) {
	if c.highest == 0 {
		return ups, nil
	}
	for _, p := range j.loop.Sharing(space) {
		j.eachStack(p, c.look, c.unknown)
	}
	for _, up := range ups {
		switch err := c.why[up]; {
		case err == nil:
			list = append(list, up)
			continue
		case errors.Is(err, errInside):
			inside = append(inside, up.Site)
			fallthrough
		default:
			c.forget(up)
			j.giveUp(space, up, err)
		}
	}
	return list, inside
}

// resumePoints is what to look for on stacks: the addresses in the middle of what jumps will displace.
// It is made before tasks are halted. What is found is noted in why.
type resumePoints struct {
	// at has the jumps by the addresses that they displace, their own included.
	at              map[arch.Addr]*breakpoint.Upgrade
	lowest, highest arch.Addr
	parks           map[*symbols.Module][]*breakpoint.Upgrade // the jumps that goroutines may be parked in, by Go module
	why             map[*breakpoint.Upgrade]error             // why a jump can't be made
}

// resumePoints returns what to look for, for jumps in a space.
func (j *Jumps) resumePoints(space *inferior.Space, ups []*breakpoint.Upgrade) *resumePoints {
	c := &resumePoints{at: make(map[arch.Addr]*breakpoint.Upgrade, 3*len(ups)), lowest: math.MaxUint64,
		parks: map[*symbols.Module][]*breakpoint.Upgrade{}, why: map[*breakpoint.Upgrade]error{}}
	ps := j.loop.Sharing(space)
	if len(ps) == 0 {
		return c
	}
	for _, up := range ups {
		c.at[up.From] = up
		inner := up.Displaces()
		for _, a := range inner {
			c.at[a] = up
			c.lowest, c.highest = min(c.lowest, a), max(c.highest, a)
		}
		if m := ps[0].ModuleAt(up.Site.Addr); mayPark(m, up) {
			c.parks[m] = append(c.parks[m], up)
		}
	}
	return c
}

// look notes the jumps of which words on a stack are an inner address.
func (c *resumePoints) look(words []uint64) {
	for _, v := range words {
		a := arch.Addr(v)
		if a < c.lowest || a > c.highest {
			continue
		}
		if up := c.at[a]; up != nil && a != up.From {
			c.why[up] = errInside
		}
	}
}

// forget drops a jump that is not made.
func (c *resumePoints) forget(up *breakpoint.Upgrade) {
	delete(c.at, up.From)
	for _, a := range up.Displaces() {
		delete(c.at, a)
	}
}

// unknown notes that the goroutines of a module can't be looked at.
func (c *resumePoints) unknown(m *symbols.Module, err error) {
	for _, up := range c.parks[m] {
		c.why[up] = fmt.Errorf("a goroutine may be parked where the jump would lie: %w", err)
	}
}

// eachStack calls look with the words of all stacks of a process's halted tasks and goroutines that
// are in use. It calls unknown for Go modules that do not tell their goroutines.
func (j *Jumps) eachStack(p *inferior.Process, look func(words []uint64), unknown func(*symbols.Module, error)) {
	var list []goruntime.Goroutine
	isGo := false
	for _, m := range p.Modules {
		if !m.File.IsGo() {
			continue
		}
		gs, err := goruntime.Goroutines(p.Space.Memory, len(p.Tasks), m)
		list = append(list, gs...)
		if isGo = true; err != nil {
			unknown(m, err)
		}
	}
	var sps []arch.Addr
	stacks, _ := procfs.Maps(p.PID)
	for _, t := range p.Tasks {
		r, err := t.Regs()
		if err != nil {
			continue
		}
		sp := arch.Addr(r[j.isa.SPReg()])
		sps = append(sps, sp)
		switch {
		case slices.ContainsFunc(list, func(g goruntime.Goroutine) bool { return g.Has(sp) }):
		case isGo:
			look(unwind.Interrupted(j.isa, StackWords(p.Space, stacks, sp, goruntime.SignalStack), sp))
		default:
			look(StackWords(p.Space, stacks, sp, 256<<10))
		}
	}
	for i := range list {
		look(list[i].Words(p.Space.Memory, sps))
	}
}

// StackWords returns the words of the stack that sp lies in, from sp to the stack's end, as far as
// a signal's frame can lie: at most most bytes.
func StackWords(space *inferior.Space, maps []procfs.Mapping, sp arch.Addr, most int) []uint64 {
	sp &^= 7
	for _, m := range maps {
		if sp >= m.Start && sp < m.End {
			return unwind.Words(space.Memory, sp, min(m.End, sp+arch.Addr(most)))
		}
	}
	return nil
}

// Go's runtime preempts a goroutine by a signal and lets it go on later, on any thread, where it
// was: this may be the middle of what a jump will displace. It never does so in the stack check
// that most functions begin with (cmd/internal/obj, StartUnsafePoint). For all other places the
// goroutines' stacks are searched.

// mayPark reports whether goroutines may be parked in the middle of what a jump of a module
// displaces.
func mayPark(m *symbols.Module, up *breakpoint.Upgrade) bool {
	return m != nil && m.File.IsGo() && up.Splits() && !goruntime.BeginsWithCheck(up.Displaced())
}
