package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/client"
)

func newTracers() *cobra.Command {
	var pid int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tracers [-p PID] [flags]",
		Short: "Show who traces what through a server",
		Long: `Show the tracers that share processes through a server: since when, which
processes, with how many probes, which threads they keep stopped and for how long
they still may, and which processes they control: to which they alone may write.
Without a server there are none; who traces a process directly, 'ptracer doctor
PID' tells.

With --json: {"id","name","pid","uid","since","processes","probes","handlers",
"holds","controls","missed","late"}, one object a line; holds are
{"pid","tid","since","until"}, controls {"pid","until","asked","waiting"}. Who is
late has not let go of a thread in time, nor asked for anything since.`,
		Example: `  ptracer tracers
  ptracer tracers -p 1234 --json`,
		Args: cobra.NoArgs,
		RunE: verb(func(cmd *cobra.Command, _ []string) error {
			if err := checkPID(cmd, pid); err != nil {
				return err
			}
			return tracers(cmd.OutOrStdout(), pid, asJSON)
		}),
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().IntVarP(&pid, "pid", "p", 0, "only those of the process `PID`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write one JSON object a line")
	return cmd
}

// allTracers are those of all servers that we reach.
func allTracers(pid int, ask func(client.Dialer, int) ([]arbiter.TracerInfo, error)) (list []arbiter.TracerInfo, err error) {
	for _, d := range servers(pid) {
		some, err := ask(d, pid)
		if err != nil && !errors.Is(err, client.ErrNoServer) {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

func tracers(w io.Writer, pid int, asJSON bool) error {
	list, err := allTracers(pid, client.Dialer.Tracers)
	if err != nil {
		return err
	}
	return writeTracers(w, list, asJSON)
}

func writeTracers(w io.Writer, list []arbiter.TracerInfo, asJSON bool) error {
	if asJSON {
		objects := make([]any, len(list))
		for i := range list {
			objects[i] = tracerJSON(&list[i])
		}
		return writeJSON(w, objects)
	}
	rows := [][]string{{"TRACER", "PID", "UID", "FOR", "PROCESSES", "PROBES", "HOLDS", "CONTROLS"}}
	for _, t := range list {
		rows = append(rows, []string{t.Name, fmt.Sprint(t.PID), fmt.Sprint(t.UID), time.Since(t.Since).Round(time.Second).String(),
			numbers(t.Processes), fmt.Sprint(len(t.Probes)), holdsText(&t), controlsText(t.Controls)})
	}
	return writeTable(w, rows, -1)
}

func tracerJSON(t *arbiter.TracerInfo) map[string]any {
	holds := []map[string]any{}
	for _, h := range t.Holds {
		x := map[string]any{"pid": h.PID, "tid": h.TID, "since": h.Since}
		if !h.Until.IsZero() {
			x["until"] = h.Until
		}
		holds = append(holds, x)
	}
	controls := []map[string]any{}
	for _, c := range t.Controls {
		controls = append(controls, map[string]any{"pid": c.PID, "until": c.Until, "asked": c.Asked, "waiting": c.Waiting})
	}
	return map[string]any{"id": t.ID, "name": t.Name, "pid": t.PID, "uid": t.UID, "since": t.Since, "processes": t.Processes,
		"probes": t.Probes, "handlers": t.Handlers, "holds": holds, "controls": controls, "missed": t.Missed, "late": t.Late}
}

// holdsText says which threads a tracer keeps stopped, and until when.
func holdsText(t *arbiter.TracerInfo) string {
	var list []string
	for _, h := range t.Holds {
		list = append(list, fmt.Sprint(h.TID)+left(h.Until))
	}
	switch {
	case len(list) > 3:
		list = append(list[:3], fmt.Sprintf("and %d more", len(list)-3))
	case len(list) == 0 && t.Late:
		return "late"
	case len(list) == 0:
		return "-"
	}
	return strings.Join(list, ", ")
}

// controlsText says which processes a tracer controls, and until when.
func controlsText(controls []arbiter.Control) string {
	var list []string
	for _, c := range controls {
		text := fmt.Sprint(c.PID) + left(c.Until)
		if c.Waiting > 0 {
			text += fmt.Sprintf(" (%d waiting)", c.Waiting)
		}
		list = append(list, text)
	}
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}

// left is how long it still is, where there is an end.
func left(until time.Time) string {
	if until.IsZero() {
		return ""
	}
	return fmt.Sprintf(" for %v", max(time.Until(until), 0).Round(time.Second))
}

func numbers(list []int) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}
