package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/printer"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/printable"
)

func newCount() *cobra.Command {
	var opt flags.Options
	var g flags.Guards
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

` + flags.AboutArgs + "\n\n" + flags.AboutNames,
		Example: `  ptracer count 'libc:malloc' -- ls -l /
  ptracer count -p 1234 -d 10s '*:*alloc*'
  ptracer count -p 1234 --filter 'order->state == RUNNING' 'handle'
  ptracer count -p 1234 --resident 'libc:*alloc*'; sleep 60; ptracer stop 1234
  ptracer count -f --json -o calls.json 'libc:malloc' -- sh -c 'ls; ls'`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if err := opt.Take(cmd, args); err != nil {
				return err
			}
			if g.Given() {
				spec, err := g.Spec("count", builtin.Params{})
				if err != nil {
					return err
				}
				return job.Summarize(&opt, spec, job.Open, cmd.ErrOrStderr(), nil)
			}
			return count(&opt, job.Open, cmd.ErrOrStderr())
		}),
	}
	opt.BindRun(cmd)
	g.Bind(cmd)
	opt.BindResident(cmd)
	opt.Bind(cmd)
	return cmd
}

func count(opt *flags.Options, open job.Opener, stderr io.Writer) error {
	out, err := show.OpenOutput(opt.Output, stderr)
	if err != nil {
		return err
	}
	specs := make([]engine.ProbeSpec, len(opt.Locations))
	for i, l := range opt.Locations {
		specs[i] = engine.ProbeSpec{Location: l, Action: engine.ActionCount}
	}
	life := func(*event.Event) {}
	if opt.Verbose {
		p := printer.New(stderr, opt.JSON, opt.Verbose)
		life = p.Print
	}
	j, err := job.Start(opt, open, stderr, specs, life)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	if opt.Resident {
		return j.Leave(out)
	}
	screen := job.ScreenOf(opt, stderr)
	why := j.Wait(out, job.Refresh, func() { screen.Show(func() []string { return j.Tally(false).Table() }) })
	screen.Clear()
	return j.Conclude(why, out, func() error { return writeCount(out, j) })
}

// writeCount writes the result of count.
func writeCount(w io.Writer, j *job.Job) error {
	if !j.Options.JSON {
		return printable.Write(w, j.Tally(false).Table()...)
	}
	if err := show.WriteJSON(w, j.Tally(true).Objects()); err != nil {
		return err
	}
	return show.WriteJSON(w, tally.Failures(j.Distinct()))
}
