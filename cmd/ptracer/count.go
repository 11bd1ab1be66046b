package main

import (
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/printable"
)

func newCount() *cobra.Command {
	var opt options
	var g guards
	cmd := &cobra.Command{
		Use:   "count [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]",
		Short: "Count how often functions are called",
		Long: `Count how often functions are called, and tell when it is over: when the
program ends, after -d, or on Ctrl-C, which leaves the program as it was. The
hits of a place are summed up over processes and threads; places that a glob
found and not hit are left out, but counted in the last line. With -p on a
terminal the table is shown while it grows; with a command only where the
command's output goes elsewhere.

With --resident the probes stay in the process when ptracer ends, which it does
at once: they run without a tracer. 'ptracer read' tells what they have counted,
'ptracer stop' takes them out.

With a command Ctrl-C is the command's, and a second one ends the tracing.
All places count over the same time, which the last line tells: from one moment,
when all are planted, to another. A place that several LOCATIONs name has one
row; "also" are its other names.

With --json: {"probe","pid","hits","method","seconds"}, one object for each place
and process, with "gap" where not all of its hits could be counted and "uncounted"
where hits of some place are in no row, and {"probe","pid","error"} for each place
that could not be probed. With a condition or a limit (--filter to --where) it is a
handler that counts, and there is one number for each LOCATION:
{"probe","hits","seconds"}. CONDITION is an expression as hist's --of.

` + aboutArgs,
		Example: `  ptracer count 'libc:malloc' -- ls -l /
  ptracer count -p 1234 -d 10s '*:*alloc*'
  ptracer count -p 1234 --resident 'libc:*alloc*'; sleep 60; ptracer stop 1234
  ptracer count -f --json -o calls.json 'libc:malloc' -- sh -c 'ls; ls'`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if err := opt.take(cmd, args); err != nil {
				return err
			}
			if g.given() {
				spec, err := g.spec("count", builtin.Params{})
				if err != nil {
					return err
				}
				return summarize(&opt, spec, open, cmd.ErrOrStderr(), nil)
			}
			return count(&opt, open, cmd.ErrOrStderr())
		}),
	}
	opt.bindRun(cmd)
	g.bind(cmd)
	opt.bindResident(cmd)
	opt.bind(cmd)
	return cmd
}

// refresh is how often a live table is drawn.
const refresh = 500 * time.Millisecond

func count(opt *options, open opener, stderr io.Writer) error {
	out, err := openOutput(opt.output, stderr)
	if err != nil {
		return err
	}
	specs := make([]engine.ProbeSpec, len(opt.locations))
	for i, l := range opt.locations {
		specs[i] = engine.ProbeSpec{Location: l, Action: engine.ActionCount}
	}
	life := func(*event.Event) {}
	if opt.verbose {
		p := newPrinter(opt, stderr)
		life = p.print
	}
	j, err := startJob(opt, open, stderr, specs, life)
	if err != nil {
		return errors.Join(err, out.close())
	}
	if opt.resident {
		return j.leave(out)
	}
	screen := newScreen(opt, stderr)
	why := j.wait(out, refresh, func() { screen.show(func() []string { return j.tally(false).table() }) })
	screen.clear()
	return j.conclude(why, out, func() error { return writeCount(out, j) })
}

// writeCount writes the result of count.
func writeCount(w io.Writer, j *job) error {
	if !j.opt.json {
		return printable.Write(w, j.tally(false).table()...)
	}
	if err := writeJSON(w, j.tally(true).objects()); err != nil {
		return err
	}
	return writeJSON(w, failures(j.distinct()))
}

// places are the places of the job's probes.
func (j *job) places() (all []engine.Placement) {
	for _, p := range j.probes {
		all = append(all, j.sess.Placements(p.id)...)
	}
	return all
}

// distinct are the places of the job's probes, each once.
func (j *job) distinct() []onePlace { return distinct(j.places(), j.named()) }

// named tells whether a place's probe names it.
func (j *job) named() func(*engine.Placement) bool {
	named := map[event.ProbeID]bool{}
	for _, p := range j.probes {
		named[p.id] = !p.loc.IsPattern()
	}
	return func(p *engine.Placement) bool { return named[p.Probe] }
}

// tally is the present result of count.
func (j *job) tally(byPID bool) *tally {
	return &tally{rows: rowsOf(j.places(), byPID, j.named()), seconds: j.seconds(), uncounted: j.uncounted()}
}
