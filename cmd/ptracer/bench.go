package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ptracer/ptracer/bench"
	benchreport "github.com/ptracer/ptracer/bench/report"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/printable"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	bench.Options
	json, markdown, benchstat bool
	svg, output, from         string
}

func newBench() *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use:   "bench [flags] [-- COMMAND [ARG]...]",
		Short: "Measure what a probe costs on this machine, by every way that there is",
		Long: `Measure what a probe costs on this machine, by every way that there is: ptracer's
jumps, handlers and stops, the kernel's uprobes of all kinds, the textbook's
ptrace, and the least that each mechanism allows, at each kind of instruction and
with several threads; what attaching, planting and looking up symbols take; and,
given a COMMAND, what it takes with all its functions counted. Where a way is not
there, its row says why. The measured program is part of ptracer.

It takes five minutes, with --quick 20 seconds, and wants a machine that does
little else. Ctrl-C ends it, and what was measured until then is printed. A figure
is the median of rounds, less what the bare call costs, with the spread behind ±;
a ratio whose spread is larger than itself is not printed. One run can be written
in several ways: keep it with --json, and give it to --from.

Tables: hit, threads, pause, plant, lookup, command. Peers are gdb, lldb, strace,
ltrace, bpftrace, perf, uftrace, and gdbserver's fast tracepoints, as far as they
are installed; they take some seconds a round, and perf may mount tracefs.
With --json: one object, {"version","command","date","machine","method","tables"}.`,
		Example: `  ptracer bench --quick
  ptracer bench --json -o run.json && ptracer bench --from run.json --svg hit.svg
  ptracer bench --tables hit --sites push,cmp --ways '*count*,uprobe*' --time 30s
  ptracer bench --benchstat --rounds 10 -o new.txt; benchstat old.txt new.txt
  ptracer bench --tables command -- sqlite3 :memory: '.read queries.sql'`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); n > 0 || n < 0 && len(args) > 0 {
				return exit.Usage("%q: a command to be measured follows --", args[0])
			}
			o.Command = args
			o.Version, o.Line = version(), benchLine(cmd, args)
			return o.run(cmd.OutOrStdout(), cmd.ErrOrStderr(), bench.Run)
		}),
	}
	o.bind(cmd)
	return cmd
}

func (o *benchOptions) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&o.Quick, "quick", false, "few sites and sizes, in 20 seconds")
	f.DurationVar(&o.Time, "time", 0, "take `TIME` instead (30s, 10m); it ends at the round before")
	f.IntVar(&o.Rounds, "rounds", 0, "make `N` rounds at the most")
	f.StringSliceVar(&o.Tables, "tables", nil, "only these `TABLES`: "+strings.Join(bench.Tables, ", "))
	f.StringSliceVar(&o.Ways, "ways", nil, "of hits, only rows whose names match `GLOBS`")
	f.StringSliceVar(&o.Sites, "sites", nil, "of hits, only these `SITES`: nop5, nop, push, endbr64, lea, sub, cmp, call, ret, loop")
	f.IntVar(&o.Threads, "threads", 0, "up to `N` threads; 0: as many as CPUs")
	f.BoolVar(&o.Peers, "peers", false, "other tools, too, as far as they are installed")
	f.StringVar(&o.Functions, "functions", "*:*", "`LOCATION` of what is counted in COMMAND")
	f.StringVar(&o.from, "from", "", "measure nothing: write what --json has written to `FILE`, - is standard input")
	show.BindOutput(f, &o.output, true)
	f.BoolVar(&o.json, "json", false, "write one JSON object")
	f.BoolVar(&o.markdown, "markdown", false, "write Markdown")
	f.BoolVar(&o.benchstat, "benchstat", false, "write lines for benchstat (golang.org/x/perf)")
	f.StringVar(&o.svg, "svg", "", "draw the costs of a hit to `FILE`, too; - is standard output")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown", "benchstat")
	_ = cmd.RegisterFlagCompletionFunc("tables", cobra.FixedCompletions(bench.Tables, cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = cobra.NoFileCompletions
}

// benchLine is the command line that makes the same run again: without what
// only says how it is written.
func benchLine(cmd *cobra.Command, args []string) string {
	line := cmd.CommandPath()
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "json", "markdown", "benchstat", "svg", "output", "from":
		case "quick", "peers":
			line += " --" + f.Name
		default:
			line += " --" + f.Name + " " + quoted(strings.Trim(f.Value.String(), "[]"))
		}
	})
	if len(args) > 0 {
		line += " --"
	}
	for _, a := range args {
		line += " " + quoted(a)
	}
	return line
}

// quoted is a word as a shell takes it.
func quoted(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !strings.ContainsRune("+-,./:=@_%", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// run measures, or reads a run, and writes it.
func (o *benchOptions) run(stdout, stderr io.Writer, measure func(context.Context, bench.Options) (*benchreport.Report, error)) error {
	r, err := o.report(stderr, measure)
	if err != nil {
		return err
	}
	err = o.write(stdout, r)
	if o.svg != "" {
		err = errors.Join(err, writeTo(o.svg, stdout, func(w io.Writer) error { return r.SVG(w, bench.Chart(r)) }))
	}
	return err
}

func (o *benchOptions) report(stderr io.Writer, measure func(context.Context, bench.Options) (*benchreport.Report, error)) (*benchreport.Report, error) {
	if o.from == "" {
		ctx, stop := exit.UntilSignal()
		defer stop()
		context.AfterFunc(ctx, stop) // a second Ctrl-C ends ptracer
		p := benchProgress{w: stderr}
		o.Progress = p.tell
		defer p.clear()
		return measure(ctx, o.Options)
	}
	if o.from == show.Dash {
		return benchreport.Read(os.Stdin)
	}
	f, err := os.Open(o.from)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return benchreport.Read(f)
}

// write writes the report in the way that was asked for.
func (o *benchOptions) write(stdout io.Writer, r *benchreport.Report) error {
	return writeTo(o.output, stdout, func(w io.Writer) error {
		switch {
		case o.json:
			return r.JSON(w)
		case o.markdown:
			return r.Markdown(w)
		case o.benchstat:
			return r.Benchstat(w)
		}
		width, _, ok := show.Terminal(w)
		if !ok {
			width = 120
		}
		return r.Text(w, width)
	})
}

// writeTo writes to a file, or where there is none named, or -, to w.
func writeTo(path string, w io.Writer, write func(io.Writer) error) error {
	if path == "" || path == show.Dash {
		return write(w)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	err = write(f)
	return errors.Join(err, f.Close())
}

// benchProgress tells how far a run is: in one line of a terminal that changes,
// else in a line now and then.
type benchProgress struct {
	w     io.Writer
	last  time.Time // when something was told
	shown bool
}

func (p *benchProgress) tell(at bench.Progress) {
	rounds := ""
	if at.Rounds > 0 {
		rounds = fmt.Sprintf(" of %d", at.Rounds)
	}
	line := fmt.Sprintf("ptracer: round %d%s, %d of %d measured, about %v left: %s",
		at.Round, rounds, at.Done, at.Total, at.Left.Round(time.Second), at.What)
	width, _, ok := show.Terminal(p.w)
	every := 10 * time.Second
	if ok {
		every = 100 * time.Millisecond
	}
	if time.Since(p.last) < every {
		return
	}
	p.last = time.Now()
	if !ok {
		_ = printable.Write(p.w, line)
		return
	}
	show.ShowStatus(p.w, show.Fit([]string{line}, width-1, 2)[0])
	p.shown = true
}

// clear takes the line away.
func (p *benchProgress) clear() {
	if p.shown {
		show.ShowStatus(p.w, "")
	}
}
