package main

import (
	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

func newHist() *cobra.Command {
	var opt flags.Options
	var g flags.Guards
	var of, linear string
	cmd := &cobra.Command{
		Use:   "hist [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]",
		Short: "Draw a histogram of a number: an argument, a result, anything computed from them",
		Long: `Draw a histogram of a number at each call: by powers of two, or with --linear
by equal steps. --of is an expression: arg0 to arg15, ret (at the function's
exits), $REGISTER, tid, load32(arg0 + 8), with Go's operators and conversions
such as int32(ret), uint8(arg1).

` + flags.AboutArgs + `

` + flags.AboutNames + `

With --json: {"probe","result":{"label","count","sum","min","max","buckets":[{"lo",
"hi","count"}]},"seconds"}, one object for each LOCATION, with "unread" where the memory of a condition could
not be read, and "uncounted" where hits are in no result.`,
		Example: `  ptracer hist 'libc:malloc' -- ls -l /
  ptracer hist --of 'int(ret)' 'libc:read' -- cat /etc/passwd
  ptracer hist -p 1234 -d 10s --of arg2 --linear 0:65536:4096 'libc:write'`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if err := opt.Take(cmd, args); err != nil {
				return err
			}
			p := builtin.Params{Exprs: []string{of}}
			var err error
			if p.Scale, err = flags.ParseScale(linear); err != nil {
				return err
			}
			spec, err := g.Spec("hist", p)
			if err != nil {
				return err
			}
			return job.Summarize(&opt, spec, job.Open, cmd.ErrOrStderr(), nil)
		}),
	}
	f := cmd.Flags()
	opt.BindRun(cmd)
	f.StringVar(&of, "of", "arg0", "the number: `EXPRESSION`")
	f.StringVar(&linear, "linear", "", "equal steps, `FROM:TO:STEP`, instead of powers of two")
	g.Bind(cmd)
	opt.BindResident(cmd)
	opt.Bind(cmd)
	return cmd
}

func newLatency() *cobra.Command {
	var opt flags.Options
	var g flags.Guards
	var linear string
	cmd := &cobra.Command{
		Use:   "latency [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]",
		Short: "Draw a histogram of how long functions take",
		Long: `Draw a histogram of the time from a function's entry to its exit, in ns, by
powers of two or, with --linear, equal steps. Calls are paired by thread (in Go
programs by goroutine) and stack, so that functions may call themselves; calls
that are left by longjmp or an exception are counted as such, and so are calls
beyond 512 of a thread that are open at a time, and exits without a known entry:
of calls that began before, or of more than 1,024 threads. It costs tens of ns
a call where entry and exits are jumps ('ptracer probes' tells), else two stops.

What the probes themselves cost is in the times of calls around others. A
condition (--filter) on ret is asked when the call is over.

With --json: {"probe","result":{"label","count","sum_ns","min_ns","max_ns",
"buckets":[{"lo_ns","hi_ns","count"}]},"seconds"}, one object for each LOCATION; see
hist.`,
		Example: `  ptracer latency 'libc:read' -- cat /etc/passwd
  ptracer latency -p 1234 -d 10s --filter 'arg2 > 4096' 'libc:write'
  ptracer latency -p 1234 --resident 'libc:malloc'; sleep 60; ptracer stop 1234`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if err := opt.Take(cmd, args); err != nil {
				return err
			}
			scale, err := flags.ParseScale(linear)
			if err != nil {
				return err
			}
			spec, err := g.Spec("latency", builtin.Params{Scale: scale})
			if err != nil {
				return err
			}
			return job.Summarize(&opt, spec, job.Open, cmd.ErrOrStderr(), nil)
		}),
	}
	opt.BindRun(cmd)
	cmd.Flags().StringVar(&linear, "linear", "", "equal steps, `FROM:TO:STEP` in ns, instead of powers of two")
	g.Bind(cmd)
	opt.BindResident(cmd)
	opt.Bind(cmd)
	return cmd
}
