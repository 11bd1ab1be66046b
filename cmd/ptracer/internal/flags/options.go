// Package flags is the command line of the verbs that trace: which flags there are, what they
// stand for, and what does not go together.
package flags

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine/handler"
)

// Options are the flags and arguments that the tracing verbs share.
type Options struct {
	PIDs      []int
	Follow    bool
	Duration  time.Duration
	Output    string
	JSON      bool
	Method    methodFlag
	Verbose   bool
	Resident  bool   // the probes are to stay in the process
	Listing   bool   // a command is not to run, only to be looked at: the result goes to standard output
	Direct    bool   // no server
	Name      string // the verb's, for other tracers
	Where     handler.Where
	Locations []string
	Command   []string // what is behind "--", with the program's name
}

// methodFlag is a breakpoint.Rung as a flag.
type methodFlag struct{ breakpoint.Rung }

// methodNames are what --method offers.
var methodNames = []string{"auto", "jump", "trap", "slot", "emulate", "step", "hardware"}

// Set implements pflag.Value.
func (m *methodFlag) Set(s string) error {
	r, err := breakpoint.ParseRung(s)
	if err != nil {
		return fmt.Errorf("unknown method %q: one of %s", s, strings.Join(methodNames, ", "))
	}
	m.Rung = r
	return nil
}

// Type implements pflag.Value.
func (m *methodFlag) Type() string { return "method" }

// bind declares the flag, and --rung, which was its name once: scripts have it.
func (m *methodFlag) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	for _, name := range []string{"method", "rung"} {
		f.Var(m, name, "how places are served: "+strings.Join(methodNames, ", "))
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(methodNames, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = f.MarkHidden("rung")
}

// Bind declares the flags that all tracing verbs have.
func (o *Options) Bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.IntSliceVarP(&o.PIDs, "pid", "p", nil, "trace the running process `PID`; may be repeated")
	show.BindOutput(f, &o.Output, o.Listing)
	f.BoolVar(&o.JSON, "json", false, "write one JSON object a line")
	f.BoolVar(&o.Direct, "direct", false, "with -p: attach without a server, so that no other tracer can share the process")
	o.Method.bind(cmd)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
}

// BindRun declares the flags of the verbs that watch a program run.
func (o *Options) BindRun(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "trace child processes too")
	f.DurationVarP(&o.Duration, "duration", "d", 0, "stop tracing after `TIME` (500ms, 10s, 5m); the program goes on")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "tell what processes do (fork, exec, exit), and how places are served")
}

// BindResident declares the flag of the verbs whose probes can do without a tracer.
func (o *Options) BindResident(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.Resident, "resident", false, "leave the probes in the process and end: 'ptracer read' tells what they find out; 'ptracer stop' before a debugger comes")
}

// Take sorts the arguments out and checks what the flags' types do not.
func (o *Options) Take(cmd *cobra.Command, args []string) error {
	o.Split(cmd, args)
	o.Name = "ptracer " + cmd.Name()
	if w := cmd.Flags().Lookup("where"); w != nil {
		o.Where = w.Value.(*whereFlag).Where
	}
	return o.Check()
}

// Split sorts the arguments out: locations, and behind "--" the command.
func (o *Options) Split(cmd *cobra.Command, args []string) {
	o.Locations = args
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		o.Locations, o.Command = args[:n], args[n:]
	}
}

// checkPIDs refuses what -p said if it is no process id.
func checkPIDs(pids ...int) error {
	for _, pid := range pids {
		if pid <= 0 {
			return exit.Usage("-p %d: not a process id", pid)
		}
	}
	return nil
}

// CheckPID is checkPIDs where without -p pid is 0, for all processes.
func CheckPID(cmd *cobra.Command, pid int) error {
	if !cmd.Flags().Changed("pid") {
		return nil
	}
	return checkPIDs(pid)
}

// Check refuses what does not go together.
func (o *Options) Check() error {
	switch {
	case len(o.Locations) == 0:
		return exit.Usage("no LOCATION given: name a function, such as 'libc:malloc'")
	case len(o.Command) == 0 && len(o.PIDs) == 0:
		return exit.Usage("nothing to trace: give -p PID, or -- COMMAND")
	case len(o.Command) > 0 && len(o.PIDs) > 0:
		return exit.Usage("both -p and a command: give one of them")
	case o.Where == handler.Kernel && o.Method.Rung != breakpoint.Auto:
		return exit.Usage("both --where kernel and --method: what the kernel runs is at a uprobe of the kernel's")
	case o.Duration < 0:
		return exit.Usage("-d %v: a duration can't be negative", o.Duration)
	}
	if err := o.checkResident(); err != nil {
		return err
	}
	return checkPIDs(o.PIDs...)
}

// checkResident checks what --resident goes together with.
func (o *Options) checkResident() error {
	switch {
	case !o.Resident:
		return nil
	case len(o.PIDs) != 1:
		return exit.Usage("--resident is for one running process: give one -p PID")
	case o.Follow:
		return exit.Usage("--resident with -f: children that are forked count with their parent, others can't be followed without a tracer")
	case o.Duration != 0:
		return exit.Usage("--resident with -d: it ends when you say 'ptracer stop %d'", o.PIDs[0])
	}
	return nil
}
