package main

import (
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

func newTrace() *cobra.Command {
	var opt options
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

` + aboutArgs + `
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
			if err := opt.take(cmd, words); err != nil {
				return err
			}
			return trace(&opt, args, open, cmd.ErrOrStderr())
		}),
	}
	opt.bindRun(cmd)
	cmd.Flags().IntVar(&args, "args", defaultArgs, "show the first `N` arguments, where LOCATION does not say")
	opt.bind(cmd)
	return cmd
}

// defaultArgs is how many arguments are shown where nothing is said.
const defaultArgs = 3

// latency is how long a line may lie in a buffer.
const latency = 50 * time.Millisecond

func trace(opt *options, args int, open opener, stderr io.Writer) error {
	if args < 0 || args > event.MaxArgs {
		return usage("--args %d: it can be 0 to %d", args, event.MaxArgs)
	}
	specs := make([]engine.ProbeSpec, len(opt.locations))
	shows := make([]show, len(opt.locations))
	for i, l := range opt.locations {
		loc, sh, err := parseShow(l, args)
		if err != nil {
			return usage("%w", err)
		}
		shows[i] = sh
		specs[i] = engine.ProbeSpec{Location: loc, Action: engine.ActionTell, Args: make([]engine.Arg, sh.count())}
		for k := range specs[i].Args {
			specs[i].Args[k].Text = sh.strings()>>k&1 != 0
		}
	}
	out, err := openOutput(opt.output, stderr)
	if err != nil {
		return err
	}
	p := newPrinter(opt, out)
	p.shows = shows
	j, err := startJob(opt, open, stderr, specs, p.print)
	if err != nil {
		return errors.Join(err, out.close())
	}
	why := j.wait(out, latency, out.flush)
	return j.conclude(why, out, func() error { return nil })
}
