package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
)

// options are the flags and arguments that the tracing verbs share.
type options struct {
	pids      []int
	follow    bool
	duration  time.Duration
	output    string
	json      bool
	method    methodFlag
	verbose   bool
	resident  bool   // the probes are to stay in the process
	listing   bool   // a command is not to run, only to be looked at: the result goes to standard output
	direct    bool   // no server
	name      string // the verb's, for other tracers
	where     handler.Where
	locations []string
	command   []string // what is behind "--", with the program's name
}

// methodFlag is a breakpoint.Rung as a flag.
type methodFlag struct{ breakpoint.Rung }

// methodNames are what --method offers.
var methodNames = []string{"auto", "jump", "trap", "slot", "emulate", "step", "hardware"}

func (m *methodFlag) Set(s string) error {
	r, err := breakpoint.ParseRung(s)
	if err != nil {
		return fmt.Errorf("unknown method %q: one of %s", s, strings.Join(methodNames, ", "))
	}
	m.Rung = r
	return nil
}

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

// bind declares the flags that all tracing verbs have.
func (o *options) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.IntSliceVarP(&o.pids, "pid", "p", nil, "trace the running process `PID`; may be repeated")
	bindOutput(f, &o.output, o.listing)
	f.BoolVar(&o.json, "json", false, "write one JSON object a line")
	f.BoolVar(&o.direct, "direct", false, "with -p: attach without a server, so that no other tracer can share the process")
	o.method.bind(cmd)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
}

// bindRun declares the flags of the verbs that watch a program run.
func (o *options) bindRun(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "trace child processes too")
	f.DurationVarP(&o.duration, "duration", "d", 0, "stop tracing after `TIME` (500ms, 10s, 5m); the program goes on")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "tell what processes do (fork, exec, exit), and how places are served")
}

// bindResident declares the flag of the verbs whose probes can do without us.
func (o *options) bindResident(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.resident, "resident", false, "leave the probes in the process and end: 'ptracer read' tells what they find out; 'ptracer stop' before a debugger comes")
}

// take sorts the arguments out and checks what the flags' types do not.
func (o *options) take(cmd *cobra.Command, args []string) error {
	o.split(cmd, args)
	o.name = "ptracer " + cmd.Name()
	if w := cmd.Flags().Lookup("where"); w != nil {
		o.where = w.Value.(*whereFlag).Where
	}
	return o.check()
}

func (o *options) split(cmd *cobra.Command, args []string) {
	o.locations = args
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		o.locations, o.command = args[:n], args[n:]
	}
}

// checkPIDs refuses what -p said if it is no process id.
func checkPIDs(pids ...int) error {
	for _, pid := range pids {
		if pid <= 0 {
			return usage("-p %d: not a process id", pid)
		}
	}
	return nil
}

// checkPID is checkPIDs where without -p pid is 0, for all processes.
func checkPID(cmd *cobra.Command, pid int) error {
	if !cmd.Flags().Changed("pid") {
		return nil
	}
	return checkPIDs(pid)
}

func (o *options) check() error {
	switch {
	case len(o.locations) == 0:
		return usage("no LOCATION given: name a function, such as 'libc:malloc'")
	case len(o.command) == 0 && len(o.pids) == 0:
		return usage("nothing to trace: give -p PID, or -- COMMAND")
	case len(o.command) > 0 && len(o.pids) > 0:
		return usage("both -p and a command: give one of them")
	case o.where == handler.Kernel && o.method.Rung != breakpoint.Auto:
		return usage("both --where kernel and --method: what the kernel runs is at a uprobe of the kernel's")
	case o.duration < 0:
		return usage("-d %v: a duration can't be negative", o.duration)
	}
	if err := o.checkResident(); err != nil {
		return err
	}
	return checkPIDs(o.pids...)
}
