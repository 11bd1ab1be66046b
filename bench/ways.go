package bench

import (
	"path"
	"slices"

	"github.com/ptracer/ptracer/bench/internal/contender"
	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler"
)

// Owners of ways.
const (
	ours      = "ptracer"
	kernels   = "kernel"
	reference = "reference"
	peers     = "peer"
)

// prober puts a way's probe at a site.
type prober func(*target.Process, target.Site) (contender.Probe, error)

// way is one way to handle a hit.
type way struct {
	name, group string
	probe       prober
	// start, if it is not nil, starts the program for this way. The program may contain the probe
	// from the start, so that the bare call is measured in another process.
	start func(target.Site) (*target.Process, prober, error)

	trap      bool   // the program must have a handler of SIGTRAP
	function  string // the function to call instead of the site's
	uncounted bool   // there is no probe that counts
	gross     bool   // the cost of the bare call is not subtracted
	loses     bool   // with several threads it counts too few hits, and takes no longer for that
	slips     bool   // with several threads it misses hits
	full      bool   // not in a quick run
	most      int    // largest number of rounds, 0: all
	sites     []string
}

// none is the probe of ways without one.
type none struct{}

func (none) Hits() (uint64, error) { return 0, nil }
func (none) Close() error          { return nil }

func noProbe(*target.Process, target.Site) (contender.Probe, error) { return none{}, nil }

// Names of rows in ratios.
const (
	rowBare     = "bare call (gross)"
	rowLimit    = "jump by hand, the limit"
	rowCount    = "ptracer count"
	rowStop     = "ptracer stop"
	rowLeast    = "least ptrace, one CPU"
	rowTextbook = "textbook ptrace, one CPU"
	rowUprobe   = "uprobe (perf event)"
	rowEBPF     = "uprobe + eBPF"
	rowMulti    = "uprobe multi + eBPF"
	rowReturn   = "uretprobe + eBPF"
	rowTracefs  = "uprobe event (tracefs)"
)

// ways returns everything that can be measured at a site.
func (r *run) ways() []*way {
	list := []*way{
		{name: rowBare, group: reference, probe: noProbe, uncounted: true, gross: true},
		{name: rowLimit, group: reference, probe: contender.Hand, loses: true},
	}
	list = append(list, engineWays()...)
	list = append(list, r.references()...)
	if r.Peers {
		list = append(list, r.peers()...)
	}
	return slices.DeleteFunc(list, func(w *way) bool { return !r.wants(w) })
}

// wants reports whether a way was requested: by name, or as one of all.
func (r *run) wants(w *way) bool {
	if len(r.Ways) == 0 {
		return !(w.full && r.Quick)
	}
	return slices.ContainsFunc(r.Ways, func(glob string) bool {
		ok, _ := path.Match(glob, w.name)
		return ok
	})
}

// engineWays are ptracer's own ways, without and with a stop.
func engineWays() []*way {
	tracee := func(name string, params ...string) prober {
		return probing{rung: breakpoint.Jump, where: handler.Tracee, handler: name, exprs: params}.open
	}
	return []*way{
		{name: rowCount, group: ours, probe: probing{rung: breakpoint.Jump}.open},
		{name: "ptracer hist", group: ours, probe: tracee("hist", "arg0")},
		{name: "ptracer record", group: ours, probe: tracee("record", "arg0", "arg1")},
		{name: "ptracer latency", group: ours, probe: tracee("latency")},
		{name: "ptracer user program", group: ours, probe: tracee(userProgram)},
		{name: rowStop, group: ours, probe: probing{rung: breakpoint.Slot}.open},
		{name: "ptracer stop, event told", group: ours, probe: probing{rung: breakpoint.Slot, action: engine.ActionTell}.open},
		{name: "ptracer stop, program on one CPU", full: true, group: ours, probe: probing{rung: breakpoint.Slot, pin: true}.open},
		{name: "ptracer stop, debug register", full: true, group: ours, probe: probing{rung: breakpoint.Hardware}.open},
		{name: "ptracer hist, in the engine", group: ours, probe: probing{where: handler.Engine, handler: "hist", exprs: []string{"arg0"}}.open},
	}
}

// references are the other ways.
func (r *run) references() []*way {
	loop := func(l contender.Loop, cpu int) prober {
		return func(p *target.Process, s target.Site) (contender.Probe, error) { return contender.Trace(p, s, l, cpu) }
	}
	ebpf := func(kind contender.Kind) prober {
		return func(p *target.Process, s target.Site) (contender.Probe, error) { return contender.EBPF(p, s, kind) }
	}
	return []*way{
		{name: rowLeast, group: reference, probe: loop(contender.Least, r.cpu)},
		{name: "least ptrace", full: true, group: reference, probe: loop(contender.Least, -1)},
		{name: rowTextbook, group: reference, probe: loop(contender.Textbook, r.cpu), slips: true},
		{name: rowUprobe, group: kernels, probe: contender.Uprobe},
		{name: rowEBPF, group: kernels, probe: ebpf(contender.Single)},
		{name: rowMulti, full: true, group: kernels, probe: ebpf(contender.Multi)},
		{name: rowReturn, group: kernels, probe: ebpf(contender.Return)},
		{name: rowTracefs, full: true, group: kernels, probe: contender.Event},
		{name: "hardware breakpoint (perf event)", full: true, group: kernels, probe: contender.Breakpoint},
		{name: "SIGTRAP in the program", group: reference, probe: contender.Trap, trap: true},
		{name: "a system call (getppid)", group: reference, probe: noProbe, uncounted: true, function: "system_call"},
	}
}
