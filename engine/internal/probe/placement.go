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

// Counter is where a placement's hits behind a jump are counted.
type Counter struct {
	In   *inproc.Tally // nil: nowhere yet
	Base uint64        // what it said when the placement came
}

func (c Counter) count() uint64 {
	if c.In == nil {
		return 0
	}
	return c.In.Count() - c.Base
}

// Place is where a probe is in a process, and what runs there.
type Place struct {
	Name   string
	Addr   arch.Addr
	Exit   *ExitTest
	Run    *inproc.Variant // of the probe's handler; nil: none
	Begins arch.Addr       // of an entry: the function's first instruction, where a stack check may be; else 0
	Point  build.Point     // which of a handler's programs runs
	Calls  arch.Convention
	// Second is the exit of a handler that has an entry: not another hit.
	Second bool
	Top    bool // the return address is where a call leaves it
	Flags  bool // which finds flags that mean something
}

// Placement is one probe at one site, or at one debug register. There may be a hundred thousand: what is small
// stands together.
type Placement struct {
	Probe *Probe
	Proc  *inferior.Process
	Place
	Rung    breakpoint.Rung
	Told    bool         // that its arguments are not known
	Over    bool         // its code is not mapped any more
	Child   bool         // came with a fork
	Space   int          // Space.ID
	Link    *kernel.Link // a uprobe of the kernel's serves it, and maybe others
	Hook    Hook         // the engine's own probes
	Behind  arch.Addr    // where a gate's call goes on (gate.go)
	Aside   arch.Addr    // where a gate of syscall() leads to (wrapper.go), else 0
	Site    *breakpoint.Site
	Why     string
	Err     error
	Gap     string // what of its hits is not counted, and why
	Waits   *IFunc // what this is to give back is where it will be
	Hits    atomic.Uint64
	Counter Counter // of hits behind a jump
}

// Live is whether something serves a placement.
func (pl *Placement) Live() bool { return !pl.Over && pl.Err == nil && pl.Waits == nil }

// Sometimes is whether a placement is of an exit that is none at each hit.
func (pl *Placement) Sometimes() bool { return pl.Exit != nil && !pl.Exit.Always }

// Target is where a placement is.
func (pl *Placement) Target() Target { return Target{Place: pl.Place, Why: pl.Why, Gap: pl.Gap} }

// Watched is whether the processor's debug registers serve a placement.
func (pl *Placement) Watched() bool { return pl.Rung == breakpoint.Hardware }

// Count is how often a placement was hit.
func (pl *Placement) Count() uint64 { return pl.Hits.Load() + pl.Counter.count() }

// Freeze has a placement count no further behind a jump.
func (pl *Placement) Freeze() {
	c := pl.Counter.In
	if c == nil {
		return
	}
	pl.Hits.Add(pl.Counter.count())
	pl.Counter = Counter{}
	c.Users--
}

// Leave takes a placement off its site, which it gives back if nothing is there any more.
// What it has counted stays; others may count on there, and a process that another tracer has.
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
