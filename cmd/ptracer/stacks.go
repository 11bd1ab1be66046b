package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

func newStacks() *cobra.Command {
	var opt flags.Options
	var g flags.Guards
	var profile bool
	var most int
	cmd := &cobra.Command{
		Use:   "stacks [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]",
		Short: "Count the callers of functions: call stacks, for flame graphs and pprof",
		Long: `Count the call stacks that functions are called from. They are written folded,
a line a stack, outermost function first, divided by semicolons, and the count:
what tools that draw flame graphs read. To a file whose name ends in .pb.gz, or
with --pprof, a profile is written that 'go tool pprof' opens.

In the kernel (--where kernel) callers without frame pointers are missing.

With --json: {"probe","pid","hits","frames":[{"function","binary","addr"}]},
one object a stack, innermost frame first.`,
		Example: `  ptracer stacks 'libc:malloc' -- ls -l /
  ptracer stacks -p 1234 -d 10s -o malloc.pb.gz 'libc:malloc' && go tool pprof -top malloc.pb.gz`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if err := opt.Take(cmd, args); err != nil {
				return err
			}
			profile = profile || strings.HasSuffix(opt.Output, ".pb.gz")
			if profile && opt.JSON {
				return exit.Usage("both --json and --pprof: give one of them")
			}
			spec, err := g.Spec("stacks", builtin.Params{Most: most})
			if err != nil {
				return err
			}
			var result func(*job.Handling, io.Writer) error
			switch {
			case profile:
				result = writeProfile
			case opt.JSON:
				result = writeStacks
			}
			return job.Summarize(&opt, spec, job.Open, cmd.ErrOrStderr(), result)
		}),
	}
	opt.BindRun(cmd)
	cmd.Flags().BoolVar(&profile, "pprof", false, "write a profile for 'go tool pprof'")
	cmd.Flags().IntVar(&most, "most", 0, "keep `N` different stacks at the most (default 4096)")
	g.Bind(cmd)
	opt.Bind(cmd)
	return cmd
}

// stackLine is a stack in JSON.
type stackLine struct {
	Probe  string      `json:"probe"`
	PID    uint32      `json:"pid"`
	Hits   uint64      `json:"hits"`
	Frames []frameLine `json:"frames"`
}

type frameLine struct {
	Function string `json:"function,omitempty"`
	Binary   string `json:"binary,omitempty"`
	Addr     string `json:"addr"`
}

func writeStacks(h *job.Handling, w io.Writer) error {
	names := job.PlaceNames{}
	return h.Counts(func(i int, s *builtin.StackCounts) error {
		var lines []stackLine
		for _, st := range s.Stacks {
			l := stackLine{Probe: names.Of(h.Job, i, int(st.PID)), PID: st.PID, Hits: st.Count, Frames: []frameLine{}}
			for n, a := range st.Addrs {
				sym, _ := h.Session.Symbolize(int(st.PID), st.At(n))
				l.Frames = append(l.Frames, frameLine{job.SourceName(sym.Function), sym.Binary, a.String()})
			}
			lines = append(lines, l)
		}
		return show.WriteJSON(w, lines)
	})
}
