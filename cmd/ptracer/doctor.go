package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/sharing"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/printable"
)

func newDoctor() *cobra.Command {
	var pids []int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [PID]...",
		Short: "Say what stands in the way of tracing, and what would help",
		Long: `Say what stands in the way of tracing on this machine, or of tracing the given
processes, and what would help; and which servers there are for tracers that
share processes. It attaches to a process for that and lets go at once, if no
server has it. Exit status 1 if there is a problem.
With --json: {"pid","topic","ok","text","help"}; what is about the machine has no pid.`,
		Example: `  ptracer doctor
  ptracer doctor 1234`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			for _, a := range args {
				pid, err := strconv.Atoi(a)
				if err != nil {
					return exit.Usage("%q: not a process id", a)
				}
				pids = append(pids, pid)
			}
			for _, pid := range pids {
				if pid <= 0 {
					return exit.Usage("%d: not a process id", pid)
				}
			}
			return doctor(cmd.OutOrStdout(), pids, asJSON, diagnose)
		}),
	}
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.Flags().IntSliceVarP(&pids, "pid", "p", nil, "look at the process `PID`; may be repeated")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write one JSON object a line")
	return cmd
}

// diagnose is what the engine says, and what servers there are.
func diagnose(pid int) []engine.Finding {
	if pid == 0 {
		return append(engine.Diagnose(0), serverFindings()...)
	}
	for _, d := range sharing.Servers(pid) {
		if list, err := d.Tracers(pid); err == nil && len(list) > 0 {
			return []engine.Finding{{Topic: "attach", OK: true, Text: fmt.Sprintf("%d is traced by the server at %s, for %s: another tracer shares it", pid, d.Socket, sharing.TracerNames(list))}}
		}
	}
	return engine.Diagnose(pid)
}

// serverFindings are about the servers that this user reaches.
func serverFindings() (list []engine.Finding) {
	for _, d := range sharing.Servers(0) {
		i, err := d.Server()
		switch {
		case errors.Is(err, client.ErrNoServer):
		case err != nil:
			list = append(list, engine.Finding{Topic: "server", Text: err.Error()})
		default:
			tracers, _ := d.Tracers(0)
			list = append(list, engine.Finding{Topic: "server", OK: true, Text: fmt.Sprintf("process %d at %s, version %s, since %s, with %s",
				i.PID, i.Socket, i.Version, i.Since.Format(time.DateTime), show.Plural(len(tracers), "tracer"))})
		}
	}
	if len(list) == 0 {
		list = append(list, engine.Finding{Topic: "server", OK: true, Text: "none runs; verbs with -p start one"})
	}
	return list
}

func doctor(w io.Writer, pids []int, asJSON bool, diagnose func(int) []engine.Finding) error {
	if len(pids) == 0 {
		pids = []int{0} // the machine
	}
	var all []finding
	for _, pid := range pids {
		for _, f := range diagnose(pid) {
			all = append(all, finding{pid, f})
		}
	}
	if err := writeFindings(w, all, asJSON); err != nil {
		return err
	}
	for _, f := range all {
		if !f.OK {
			return &exit.Ended{Status: exit.StatusFailed} // it has been told
		}
	}
	return nil
}

// finding is one of the machine, or of a process.
type finding struct {
	PID int `json:"pid,omitempty"`
	engine.Finding
}

func writeFindings(w io.Writer, all []finding, asJSON bool) error {
	if asJSON {
		return show.WriteJSON(w, all)
	}
	for _, f := range all {
		verdict := "ok"
		if !f.OK {
			verdict = "problem"
		}
		lines := []string{fmt.Sprintf("%-8s %-11s %s", verdict, f.Topic, f.Text)}
		if f.Help != "" {
			lines = append(lines, fmt.Sprintf("%-8s %-11s what helps: %s", "", "", f.Help))
		}
		if err := printable.Write(w, lines...); err != nil {
			return err
		}
	}
	return nil
}
