package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/sharing"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/client"
)

func newTracers() *cobra.Command {
	var pid int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tracers [-p PID] [flags]",
		Short: "Show the tracers that use a server, and what they trace",
		Long: `Show the tracers that share processes through a server: since when, which
processes, with how many probes, which threads they keep stopped and for how long
they still may, and which processes they control: to which they alone may write.
Without a server there are none; which tracer has a process directly, 'ptracer doctor
PID' tells.

With --json: {"id","tracer","tracer_pid","uid","since","processes","locations",
"handlers","holds","controls","missed","late"}, one object a line; holds are
{"pid","tid","since","until"}, controls {"pid","until","asked","waiting"}. A tracer
that is late has not let go of a thread in time, nor asked for anything since.`,
		Example: `  ptracer tracers
  ptracer tracers -p 1234 --json`,
		Args: cobra.NoArgs,
		RunE: verb(func(cmd *cobra.Command, _ []string) error {
			if err := flags.CheckPID(cmd, pid); err != nil {
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

// allTracers are those of all servers that this user reaches.
func allTracers(pid int, ask func(client.Dialer, int) ([]arbiter.TracerInfo, error)) (list []arbiter.TracerInfo, err error) {
	for _, d := range sharing.Servers(pid) {
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
		lines := make([]tracerLine, len(list))
		for i := range list {
			lines[i] = tracerLineOf(&list[i])
		}
		return show.WriteJSON(w, lines)
	}
	rows := [][]string{{"TRACER", "PID", "UID", "FOR", "PROCESSES", "PROBES", "HOLDS", "CONTROLS"}}
	for _, t := range list {
		rows = append(rows, []string{t.Name, fmt.Sprint(t.PID), fmt.Sprint(t.UID), time.Since(t.Since).Round(time.Second).String(),
			show.Numbers(t.Processes), fmt.Sprint(len(t.Probes)), holdsText(&t), controlsText(t.Controls)})
	}
	return show.WriteTable(w, rows, -1)
}

// tracerLine is a tracer in JSON.
type tracerLine struct {
	ID        int           `json:"id"`
	Tracer    string        `json:"tracer"`
	TracerPID int           `json:"tracer_pid"`
	UID       uint32        `json:"uid"`
	Since     time.Time     `json:"since"`
	Processes []int         `json:"processes"`
	Locations []string      `json:"locations"` // of its probes
	Handlers  int           `json:"handlers"`
	Holds     []holdLine    `json:"holds"`
	Controls  []controlLine `json:"controls"`
	Missed    uint64        `json:"missed"`
	Late      bool          `json:"late"`
}

type holdLine struct {
	PID   int       `json:"pid"`
	TID   int       `json:"tid"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

type controlLine struct {
	PID     int       `json:"pid"`
	Until   time.Time `json:"until"`
	Asked   bool      `json:"asked"`
	Waiting int       `json:"waiting"`
}

func tracerLineOf(t *arbiter.TracerInfo) tracerLine {
	l := tracerLine{ID: t.ID, Tracer: t.Name, TracerPID: t.PID, UID: t.UID, Since: t.Since, Processes: t.Processes, Locations: t.Probes,
		Handlers: t.Handlers, Holds: []holdLine{}, Controls: []controlLine{}, Missed: t.Missed, Late: t.Late}
	for _, h := range t.Holds {
		l.Holds = append(l.Holds, holdLine{h.PID, h.TID, h.Since, h.Until})
	}
	for _, c := range t.Controls {
		l.Controls = append(l.Controls, controlLine{c.PID, c.Until, c.Asked, c.Waiting})
	}
	return l
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
