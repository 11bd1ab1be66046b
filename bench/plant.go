package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ptracer/ptracer/bench/internal/contender"
	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/bench/report"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
)

// manyFunctions is the number of functions of the program in which probes are planted.
const manyFunctions = 10000

// glob returns the location of n of them: 1, or a power of ten.
func glob(n int) string {
	digits := strconv.Itoa(manyFunctions / n)
	return "many_" + strings.Repeat("0", len(digits)-1) + strings.Repeat("?", 5-len(digits))
}

// planter plants probes on many functions of a running program.
type planter struct {
	name, group string
	memory      bool // the memory that it takes in the program is measured
	handler     bool // code is compiled for each probe, which takes some seconds for all
	begin       func(p *target.Process) (planting, error)
}

// guess returns how long a measurement will probably take.
func (pl *planter) guess() time.Duration {
	if pl.handler {
		return 700 * time.Microsecond
	}
	return 100 * time.Microsecond
}

// planting is a planter attached to one program.
type planting struct {
	plant  func(n int) error
	hits   func() (uint64, error)
	remove func() error
	end    func() error
}

// addPlants adds the table of planting many probes.
func (r *run) addPlants() error {
	t := r.report.Table(TablePlant, "Probes planted in a running program, and removed", report.Nanoseconds,
		fmt.Sprintf("Of a program with %s functions, each of which is called once, and counted. The pause is that of a thread that looks at the clock all the time. "+
			"Memory is the program's, for each probe: code, counters and page tables.", thousands(manyFunctions)))
	planters := []planter{
		{name: "ptracer count", group: ours, memory: true, begin: engineBegin("")},
		{name: "ptracer latency", group: ours, memory: true, handler: true, begin: engineBegin("latency")},
		{name: "uprobe multi + eBPF", group: kernels, begin: kernelBegin},
	}
	for _, n := range r.probes {
		for _, pl := range planters {
			if r.Quick && pl.handler && n > 1 {
				continue
			}
			rows := []string{pl.name + ": planting takes", pl.name + ": pause", pl.name + ": removing takes", pl.name + ": pause then"}
			units := map[string]report.Unit{}
			if pl.memory {
				rows = append(rows, pl.name+": memory")
				units[rows[4]] = report.Bytes
			}
			column := thousands(n) + " probes"
			if n == 1 {
				column = "1 probe"
			}
			r.add(figures{table: t, column: column, group: pl.group, rows: rows, units: units, what: pl.name,
				guess: 300*time.Millisecond + time.Duration(n)*pl.guess(), most: 5,
				measure: func(context.Context) ([]float64, error) {
					v, err := r.plant(pl, n)
					if err != nil {
						return nil, err
					}
					return v[:len(rows)], nil
				}})
		}
	}
	return nil
}

// plant measures one planting: ns for planting and the pause, then for removing and its pause;
// bytes for each probe.
func (r *run) plant(pl planter, n int) (v []float64, err error) {
	prog, err := r.install(target.Kind{Many: manyFunctions})
	if err != nil {
		return nil, err
	}
	p, err := prog.Start(target.Options{Threads: 2})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	w, err := pl.begin(p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	before := memory(p.PID)
	took, gap, err := watched(p, func() error { return w.plant(n) })
	if err != nil {
		return nil, err
	}
	// A function that was never called has no memory of its own yet.
	calls, err := p.Run(target.Order{Addr: prog.Addr("many_0000"), Calls: n, Stride: prog.Stride, Threads: 1})
	if err != nil {
		return nil, err
	}
	each := float64(memory(p.PID)-before) / float64(n)
	if hits, err := w.hits(); err != nil || hits != calls.Calls {
		return nil, errors.Join(err, fmt.Errorf("%w: %d of %d hits", errLost, hits, calls.Calls))
	}
	removed, gapThen, err := watched(p, w.remove)
	if err != nil {
		return nil, err
	}
	return []float64{float64(took), float64(gap), float64(removed), float64(gapThen), each}, nil
}

// watched calls f, and returns how long that took and the program's longest pause meanwhile.
func watched(p *target.Process, f func() error) (took, gap time.Duration, err error) {
	if err := p.Spin(); err != nil {
		return 0, 0, err
	}
	time.Sleep(calm)
	p.Gap()
	begin := time.Now()
	err = f()
	took = time.Since(begin)
	time.Sleep(calm)
	gap = p.Gap()
	return took, gap, errors.Join(err, p.Still())
}

// engineBegin attaches the engine; a handler, if one is named, runs at each probe.
func engineBegin(name string) func(p *target.Process) (planting, error) {
	return func(p *target.Process) (planting, error) {
		s, err := engine.Attach(context.Background(), p.PID)
		if err != nil {
			return planting{}, err
		}
		e := &engineProbe{s: s, over: make(chan struct{})}
		var id event.ProbeID
		return planting{
			plant: func(n int) (err error) {
				spec := engine.ProbeSpec{Location: glob(n), Rung: breakpoint.Jump}
				if name != "" {
					if err := (probing{where: handler.Tracee, handler: name}).openHandler(e); err != nil {
						return err
					}
					spec.Rung, spec.Handler = breakpoint.Auto, e.h
				}
				id, err = s.Register(spec)
				return err
			},
			hits:   func() (uint64, error) { return s.Hits(id), nil },
			remove: func() error { return s.Unregister(id) },
			end:    e.Close,
		}, nil
	}
}

// kernelBegin plants uprobes, all with one link.
func kernelBegin(p *target.Process) (planting, error) {
	var probe contender.Probe
	return planting{
		plant: func(n int) (err error) {
			first := p.Program.Addr("many_0000")
			var at []uint64
			for i := range uint64(n) {
				at = append(at, first+i*p.Program.Stride)
			}
			probe, err = contender.Many(p, at)
			return err
		},
		hits:   func() (uint64, error) { return probe.Hits() },
		remove: func() error { return probe.Close() },
		end:    func() error { return nil },
	}, nil
}

// memory is how much memory a program has for itself alone, in bytes: anonymous pages, pages that
// it shares with this process, and page tables.
func memory(pid int) (bytes int64) {
	smaps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	shared := false
	for line := range strings.Lines(string(smaps)) {
		key, value, ok := strings.Cut(line, ":")
		switch {
		case !ok || strings.Contains(key, "-"):
			shared = strings.Contains(line, "/memfd:")
		case key == "Anonymous", key == "Rss" && shared:
			bytes += kilobytes(value)
		}
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmPTE:")
	return bytes + kilobytes(rest)
}

// kilobytes reads "  12 kB".
func kilobytes(s string) int64 {
	if f := strings.Fields(s); len(f) > 0 {
		n, _ := strconv.ParseInt(f[0], 10, 64)
		return n << 10
	}
	return 0
}
