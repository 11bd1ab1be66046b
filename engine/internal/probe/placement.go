package probe

import (
	"sync/atomic"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
)

// Counter says which counter has the hits of a placement behind a jump.
type Counter struct {
	In   *inproc.Tally // the counter; nil: none yet
	Base uint64        // the counter's value when the placement came to it
}

// count returns the hits since the placement came.
func (c Counter) count() uint64 {
	if c.In == nil {
		return 0
	}
	return c.In.Count() - c.Base
}

// Place says where a probe is in a process, and what runs there.
type Place struct {
	Name   string
	Addr   arch.Addr
	Exit   *ExitTest
	Run    *inproc.Variant // the handler as it is compiled for Calls; nil: the probe has none
	Begins arch.Addr       // at a function's entry: its first instruction, before Go's stack check; else 0
	Point  build.Point     // which of the handler's programs runs there
	Calls  arch.Convention
	// Second says that the place is the exit of a handler that has an entry, too: what comes there
	// is not another hit.
	Second bool
	Top    bool // the return address is still where the call has put it
	Flags  bool // the function reads flags that its caller has set
}

// Placement is a probe at one address of one process. A site, a debug register or a uprobe serves
// it. There may be a hundred thousand: what is small stands together.
type Placement struct {
	Probe *Probe
	Proc  *inferior.Process
	Place
	Rung    breakpoint.Rung
	Told    bool         // the user has been warned that its arguments are not known
	Over    bool         // its code is no longer mapped
	Child   bool         // a forked child has it from its parent
	Space   int          // the address space's number (inferior.Space.ID)
	Link    *kernel.Link // the uprobe that serves it, and maybe others; nil: none
	Hook    Hook         // of a site of the engine's own; nil: a tracer's probe
	Behind  arch.Addr    // of a gate (package hook): where the program goes on behind the call; else 0
	Aside   arch.Addr    // of a gate in libc's syscall(): the copy to which it sends calls; else 0
	Site    *breakpoint.Site
	Why     string        // why no faster method serves it
	Err     error         // why nothing serves it
	Gap     string        // which of its hits are not counted, and why
	Waits   *IFunc        // the resolver whose result it waits for; nil: none
	Hits    atomic.Uint64 // those at stops, and those of jumps that are gone
	Counter Counter       // of hits behind a jump
}

// Live reports whether something serves a placement.
func (pl *Placement) Live() bool { return !pl.Over && pl.Err == nil && pl.Waits == nil }

// Sometimes reports whether a placement is at an exit that is not taken at each hit.
func (pl *Placement) Sometimes() bool { return pl.Exit != nil && !pl.Exit.Always }

// Target returns the placement's address as a target, to plant it anew.
func (pl *Placement) Target() Target { return Target{Place: pl.Place, Why: pl.Why, Gap: pl.Gap} }

// Watched reports whether a debug register serves a placement.
func (pl *Placement) Watched() bool { return pl.Rung == breakpoint.Hardware }

// Count returns how often a placement was hit.
func (pl *Placement) Count() uint64 { return pl.Hits.Load() + pl.Counter.count() }

// Freeze ends the counting of a placement behind a jump. What was counted is added to Hits.
func (pl *Placement) Freeze() {
	c := pl.Counter.In
	if c == nil {
		return
	}
	pl.Hits.Add(pl.Counter.count())
	pl.Counter = Counter{}
	c.Users--
}

// Leave takes a placement off its site. It returns the site if no placement is left there, else
// nil. What the placement has counted stays. Its counter may go on: others count in it, or a
// process that is lent to another tracer.
func (pl *Placement) Leave() *breakpoint.Site {
	c := pl.Counter.In
	pl.Freeze()
	if pl.Site == nil || pl.Site.Tag == nil {
		return nil
	}
	g, site := Of(pl.Site), pl.Site
	g.Drop(pl)
	if c != nil && c.Users == 0 && g.Shared == c {
		g.Shared = nil
	}
	pl.Site = nil
	if len(g.List) > 0 {
		return nil
	}
	return site
}
