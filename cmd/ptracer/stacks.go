package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/symbols"
)

func newStacks() *cobra.Command {
	var opt options
	var g guards
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
			if err := opt.take(cmd, args); err != nil {
				return err
			}
			profile = profile || strings.HasSuffix(opt.output, ".pb.gz")
			if profile && opt.json {
				return usage("both --json and --pprof: give one of them")
			}
			spec, err := g.spec("stacks", builtin.Params{Most: most})
			if err != nil {
				return err
			}
			var result func(*handling, io.Writer) error
			switch {
			case profile:
				result = (*handling).writeProfile
			case opt.json:
				result = (*handling).writeStacks
			}
			return summarize(&opt, spec, open, cmd.ErrOrStderr(), result)
		}),
	}
	opt.bindRun(cmd)
	cmd.Flags().BoolVar(&profile, "pprof", false, "write a profile for 'go tool pprof'")
	cmd.Flags().IntVar(&most, "most", 0, "keep `N` different stacks at the most (default 4096)")
	g.bind(cmd)
	opt.bind(cmd)
	return cmd
}

// named gives a result of stacks names.
func (h *handling) named(r build.Result) {
	if s, ok := r.(*builtin.StackCounts); ok {
		s.Name = func(pid uint32, at arch.Addr) string {
			sym, ok := h.sess.Symbolize(int(pid), at)
			switch {
			case !ok:
				return ""
			case sym.Function == "":
				return "[" + sym.Binary + "]"
			}
			return sourceName(sym.Function)
		}
	}
}

// sourceName is a function's name as tables of places have it: that of its source in C++ or
// Rust, not the linker's.
func sourceName(function string) string { return symbols.Function{Name: function}.Demangled() }

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

// counts are the stacks of each probe.
func (h *handling) counts(each func(i int, s *builtin.StackCounts) error) error {
	for i, x := range h.handlers {
		r, err := x.Result()
		if err != nil {
			return err
		}
		if s, ok := r.(*builtin.StackCounts); ok {
			if err := each(i, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *handling) writeStacks(w io.Writer) error {
	names := placeNames{}
	return h.counts(func(i int, s *builtin.StackCounts) error {
		var lines []stackLine
		for _, st := range s.Stacks {
			l := stackLine{Probe: names.of(h.job, i, int(st.PID)), PID: st.PID, Hits: st.Count, Frames: []frameLine{}}
			for n, a := range st.Addrs {
				sym, _ := h.sess.Symbolize(int(st.PID), st.At(n))
				l.Frames = append(l.Frames, frameLine{sourceName(sym.Function), sym.Binary, a.String()})
			}
			lines = append(lines, l)
		}
		return writeJSON(w, lines)
	})
}
