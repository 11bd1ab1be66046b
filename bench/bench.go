package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ptracer/ptracer/bench/internal/contender"
	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/bench/report"
)

// How long runs take by default.
const (
	QuickTime = 19 * time.Second
	FullTime  = 295 * time.Second
)

// Options say what to measure. The zero value means everything, in five minutes.
type Options struct {
	Quick  bool          // few sites and sizes, in 20 seconds
	Time   time.Duration // limit of the run; 0: QuickTime or FullTime
	Rounds int           // at most; 0: as many as there is time for

	Tables []string // ids of Tables; nil: all
	Ways   []string // globs of names in the table of hits; nil: all
	Sites  []string // classes of sites; nil: all, or with Quick some
	// Threads is the largest number of threads in the table of threads; 0: the number of CPUs.
	Threads int

	Peers bool // other tools, too, if they are installed
	// Command is a program in which each way counts all functions. It is run several times per way;
	// its output is discarded.
	Command []string
	// Functions selects functions of it: a location, by default '*:*'.
	Functions string

	Version  string         // of ptracer, for the report
	Line     string         // the command line, for the report
	Progress func(Progress) // called before each measurement; may be nil
}

// Ids of tables.
const (
	TableHit     = "hit"
	TableThreads = "threads"
	TablePause   = "pause"
	TablePlant   = "plant"
	TableLookup  = "lookup"
	TableCommand = "command"
)

// Tables are the ids of all tables, in their order.
var Tables = []string{TableHit, TableThreads, TablePause, TablePlant, TableLookup, TableCommand}

// run is the state that the tables of one run share.
type run struct {
	Options
	each   time.Duration // length of a measurement of hits
	probes []int         // numbers of probes to plant at once
	cpu    int           // for a tracer and its tracee that are bound to one
	report *report.Report
	plan   plan
	hits   *target.Program // with the sites and no other functions
	files  map[target.Kind]*target.Program
}

// Run measures. An error means that nothing could be measured; the report has the reasons for
// single ways. When ctx is done, the report has what was measured until then.
func Run(ctx context.Context, o Options) (*report.Report, error) {
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.measure(ctx)
}

// measure adds the measurements of all tables, and runs them.
func (r *run) measure(ctx context.Context) (*report.Report, error) {
	for _, t := range []struct {
		id  string
		add func() error
	}{
		{TableHit, r.addHits}, {TableThreads, r.addThreads}, {TablePause, r.addPauses},
		{TablePlant, r.addPlants}, {TableLookup, r.addLookups}, {TableCommand, r.addCommand},
	} {
		if len(r.Tables) > 0 && !slices.Contains(r.Tables, t.id) {
			continue
		}
		if err := t.add(); err != nil {
			return nil, err
		}
	}
	if len(r.plan.jobs) == 0 {
		return nil, errors.New("bench: nothing to measure: no way, site and table that were asked for go together")
	}
	r.plan.run(ctx)
	r.report.Took, r.report.Rounds, r.report.Ended = time.Since(r.report.Date), r.plan.rounds, r.plan.ended
	r.report.Finish()
	return r.report, nil
}

func newRun(o Options) (*run, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	begin := time.Now()
	r := &run{Options: o, each: 60 * time.Millisecond, probes: []int{1, 100, manyFunctions}, cpu: target.LastCPU(), files: map[target.Kind]*target.Program{}}
	budget := FullTime
	if o.Quick {
		r.each, r.probes, budget = 12*time.Millisecond, []int{1, manyFunctions}, QuickTime
	}
	if o.Time > 0 {
		budget = o.Time
	}
	if o.Functions == "" {
		r.Functions = "*:*"
	}
	var err error
	if r.hits, err = r.install(target.Kind{}); err != nil {
		return nil, fmt.Errorf("bench: the program to be measured: %w", err)
	}
	r.plan = plan{end: begin.Add(budget), most: o.Rounds, tell: o.Progress, now: time.Now}
	pinned := fmt.Sprintf("in rows that say \"one CPU\" the program and its tracer, to CPU %d; nothing else", r.cpu)
	r.report = &report.Report{Version: o.Version, Command: o.Line, Date: begin, Machine: machine("/", pinned), Method: method(r.each)}
	r.report.Machine.Rights = rights()
	return r, nil
}

// check refuses invalid options.
func (o *Options) check() error {
	for _, id := range o.Tables {
		if !slices.Contains(Tables, id) {
			return fmt.Errorf("bench: no table %q: there are %s", id, strings.Join(Tables, ", "))
		}
	}
	for _, glob := range o.Ways {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("bench: %q: %w", glob, err)
		}
	}
	switch {
	case o.Time < 0, o.Rounds < 0, o.Threads < 0:
		return errors.New("bench: a time, number of rounds or threads can't be negative")
	case o.Threads > target.MaxThreads:
		return fmt.Errorf("bench: %d threads: %d are the most", o.Threads, target.MaxThreads)
	}
	return nil
}

func (r *run) close() {
	for _, f := range r.files {
		_ = f.Close() // a temporary file: nothing depends on it
	}
}

// method describes how the run measured.
func method(each time.Duration) []string {
	return []string{
		"A figure is the median of the rounds; behind ± half the width of their spread: between the quartiles of five rounds or more, between the least and the most of fewer.",
		"A round is each measurement once, in a process of its own, one after the other.",
		fmt.Sprintf("A hit's cost is what a call takes with the probe, after a warm-up, less what it took without one in the same process just before; the program takes the time itself, over about %v.", each),
		"What a way has counted is held against the calls: a way that lost one has no figure.",
		"A ratio is that of two rows in the same round; where its spread is larger than the ratio it is not printed.",
	}
}

// install makes a program, once.
func (r *run) install(k target.Kind) (*target.Program, error) {
	k.Arch = runtime.GOARCH
	if f := r.files[k]; f != nil {
		return f, nil
	}
	img, err := target.Build(k)
	if err != nil {
		return nil, err
	}
	f, err := target.Install(img)
	if err != nil {
		return nil, err
	}
	r.files[k] = f
	return f, nil
}

// reason returns an error as one line, for a table.
func reason(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, class := range []string{contender.ErrMissing.Error(), "unsupported", "handlers in the kernel"} {
		text = strings.TrimPrefix(text, class+": ")
	}
	if errors.Is(err, os.ErrPermission) && !strings.Contains(text, "right") && !strings.Contains(text, "root") {
		text = "no right: " + text
	}
	return text
}
