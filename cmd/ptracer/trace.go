package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/printer"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

func newTrace() *cobra.Command {
	var opt flags.Options
	args := defaultArgs
	cmd := &cobra.Command{
		Use:   "trace [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]",
		Short: "Show each call of functions, a line a call",
		Long: `Show each call of functions: time of day, process/thread, command, place and
integer arguments; at exits (FUNCTION%return) the result. Without debug
information it is not known how many arguments a function has: the first three are
shown, or as many as --args says, or those that follow the LOCATION in the same
word, each with how to show it:

  'libc:open arg0:str arg1'     a string, and a number in hexadecimal
  'libc:write arg0:int arg2:long'    C's int and long, in decimal
  'libc:getenv%return ret:str'  the result, as a string

` + flags.AboutArgs + `
What can't be told is shown as ?, in JSON as null.

A reader slower than the program loses lines, never the program time; how many
is told. With a command Ctrl-C is the command's, and a second one ends the
tracing.

With --json: {"time","event","pid","tid","comm","probe","args"}, at exits "result"
instead; numbers in hexadecimal are strings: "0x1f".`,
		Example: `  ptracer trace 'libc:fopen* arg0:str' -- ls -l /
  ptracer trace -p 1234 -d 10s 'libc:write arg0:int arg2:long'
  ptracer trace -p 1234 'main.work' 'main.work%return'
  ptracer trace -f -v -o calls.txt 'bash:execute_command' -- bash script.sh`,
		RunE: verb(func(cmd *cobra.Command, words []string) error {
			if err := opt.Take(cmd, words); err != nil {
				return err
			}
			return trace(&opt, args, job.Open, cmd.ErrOrStderr())
		}),
	}
	opt.BindRun(cmd)
	cmd.Flags().IntVar(&args, "args", defaultArgs, "show the first `N` arguments, where LOCATION does not say")
	opt.Bind(cmd)
	return cmd
}

// defaultArgs is how many arguments are shown where nothing is said.
const defaultArgs = 3

func trace(opt *flags.Options, args int, open job.Opener, stderr io.Writer) error {
	if args < 0 || args > event.MaxArgs {
		return exit.Usage("--args %d: it can be 0 to %d", args, event.MaxArgs)
	}
	specs := make([]engine.ProbeSpec, len(opt.Locations))
	shows := make([]printer.Values, len(opt.Locations))
	for i, l := range opt.Locations {
		loc, sh, err := printer.ParseShow(l, args)
		if err != nil {
			return exit.Usage("%w", err)
		}
		shows[i] = sh
		specs[i] = engine.ProbeSpec{Location: loc, Action: engine.ActionTell, Args: sh.Args()}
	}
	out, err := show.OpenOutput(opt.Output, stderr)
	if err != nil {
		return err
	}
	p := printer.New(out, opt.JSON, opt.Verbose)
	p.Shows = shows
	j, err := job.Start(opt, open, stderr, specs, p.Print)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	why := j.Wait(out, job.Latency, out.Flush)
	return j.Conclude(why, out, func() error { return nil })
}
