package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/remains"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
)

func newRead() *cobra.Command {
	var output string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "read [PID]",
		Short: "Tell what resident probes have found out, or in which processes there are any",
		Long: `Tell what probes have found out so far that were left in a process with
--resident. No tracer is attached meanwhile, and the process does not notice. What was found
out can be read after the process has ended, too, until 'ptracer stop' collects
it. Without a PID the processes are listed.

Before a debugger sets breakpoints in the process, 'ptracer stop' takes the probes
out: a breakpoint in the middle of one, where gdb's break FUNCTION may lie, ends
the program.

With --json: for each place {"probe","pid","hits","method","seconds"}, for each
handler {"probe","result","seconds"}, or with "hits" where it only counts; of the
list {"pid","comm","planted","running","places"}.`,
		Example: `  ptracer count -p 1234 --resident 'libc:malloc'
  ptracer read
  ptracer read 1234
  ptracer stop 1234`,
		Args: cobra.MaximumNArgs(1),
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			return show.WithOutput(output, cmd.OutOrStdout(), func(w io.Writer) error {
				if len(args) == 0 {
					return remains.List(w, asJSON)
				}
				r, err := remains.Of(args[0])
				if err != nil {
					return err
				}
				var seconds float64
				if r.Running() {
					seconds = time.Since(r.Planted).Seconds()
				}
				return remains.Write(w, r, seconds, asJSON)
			})
		}),
	}
	bindRead(cmd, &output, &asJSON)
	return cmd
}

func newStop() *cobra.Command {
	var output string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stop PID",
		Short: "Take resident probes out of a process, and tell what they have found out",
		Long: `Take the probes out of a process that were left in it with --resident: its
code is then as it was, and nothing of ptracer's is left in it. What they have found
out is told for the last time. It does the same for what a tracer has left that
was killed; and of a process that has ended it collects the results.

With --json the same objects as of 'ptracer read'.`,
		Example: `  ptracer stop 1234`,
		Args:    cobra.ExactArgs(1),
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			return show.WithOutput(output, cmd.OutOrStdout(), func(w io.Writer) error { return remains.Stop(w, args[0], asJSON) })
		}),
	}
	bindRead(cmd, &output, &asJSON)
	return cmd
}

func bindRead(cmd *cobra.Command, output *string, asJSON *bool) {
	f := cmd.Flags()
	f.SortFlags = false
	show.BindOutput(f, output, true)
	f.BoolVar(asJSON, "json", false, "write one JSON object a line")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
}
