package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/printable"
)

// topOptions are the flags of top.
type topOptions struct {
	pid    int
	every  time.Duration
	once   bool
	asJSON bool
}

func newTop() *cobra.Command {
	var o topOptions
	cmd := &cobra.Command{
		Use:   "top [-p PID] [flags]",
		Short: "Show what is hit most, of all tracers' probes",
		Long: `Show the probes of all tracers that share processes through a server, those that
are hit most often first, with their tracers. On a terminal it goes on
until Ctrl-C; elsewhere, and with --once, it tells what was hit within one
interval, and ends.

With --json: {"probe","tracer","tracer_pid","processes","rate","hits"}, one object a
line; rate is hits a second.`,
		Example: `  ptracer top
  ptracer top -p 1234 --once --json`,
		Args: cobra.NoArgs,
		RunE: verb(func(cmd *cobra.Command, _ []string) error {
			if o.every <= 0 {
				return exit.Usage("--every %v: it has to be more than nothing", o.every)
			}
			if err := flags.CheckPID(cmd, o.pid); err != nil {
				return err
			}
			return top(cmd.OutOrStdout(), &o, exit.Signals())
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVarP(&o.pid, "pid", "p", 0, "only those of the process `PID`")
	f.DurationVar(&o.every, "every", time.Second, "tell anew every `TIME`")
	f.BoolVar(&o.once, "once", false, "tell once, and end")
	f.BoolVar(&o.asJSON, "json", false, "write one JSON object a line, once")
	return cmd
}

// hot is a probe of some tracer's, and how often it is hit.
type hot struct {
	Probe     string  `json:"probe"`
	Tracer    string  `json:"tracer"`
	TracerPID int     `json:"tracer_pid"`
	Processes []int   `json:"processes"`
	Rate      float64 `json:"rate"`
	Hits      uint64  `json:"hits"`
}

// top draws again and again, or tells once.
func top[T any](w io.Writer, o *topOptions, stop <-chan T) error {
	_, _, isTerminal := show.Terminal(w)
	live := isTerminal && !o.once && !o.asJSON
	screen := show.NewScreen(nil)
	if live {
		screen = show.NewScreen(w)
	}
	before, at, err := counted(o.pid)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(o.every)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ticker.C:
		}
		now, then, err := counted(o.pid)
		if err != nil {
			return err
		}
		list := hottest(before, now, then.Sub(at))
		if !live {
			return writeTop(w, list, now, o.asJSON)
		}
		screen.Draw(topLines(list, now))
		before, at = now, then
	}
}

// counted are the tracers, with what their probes have counted by now.
func counted(pid int) ([]arbiter.TracerInfo, time.Time, error) {
	list, err := allTracers(pid, client.Dialer.Hits)
	return list, time.Now(), err
}

// hottest are the probes, those that were hit most in between first.
func hottest(before, now []arbiter.TracerInfo, d time.Duration) (list []hot) {
	for _, t := range now {
		var was arbiter.TracerInfo
		if i := slices.IndexFunc(before, func(x arbiter.TracerInfo) bool { return x.ID == t.ID && x.PID == t.PID }); i >= 0 {
			was = before[i]
		}
		for i, probe := range t.Probes {
			if i >= len(t.Hits) {
				break
			}
			h := hot{probe, t.Name, t.PID, t.Processes, 0, t.Hits[i]}
			if i < len(was.Hits) && was.Probes[i] == probe && was.Hits[i] <= h.Hits {
				h.Rate = float64(h.Hits-was.Hits[i]) / d.Seconds()
			}
			list = append(list, h)
		}
	}
	slices.SortStableFunc(list, func(a, b hot) int { return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Hits, a.Hits)) })
	return list
}

func writeTop(w io.Writer, list []hot, tracers []arbiter.TracerInfo, asJSON bool) error {
	if asJSON {
		return show.WriteJSON(w, list)
	}
	return printable.Write(w, topLines(list, tracers)...)
}

func topLines(list []hot, tracers []arbiter.TracerInfo) []string {
	rows := [][]string{{"HITS/S", "HITS", "PROBE", "PROCESSES", "TRACER"}}
	for _, h := range list {
		rows = append(rows, []string{fmt.Sprintf("%.0f", h.Rate), fmt.Sprint(h.Hits), h.Probe, show.Numbers(h.Processes), fmt.Sprintf("%s (%d)", h.Tracer, h.TracerPID)})
	}
	holds := 0
	for _, t := range tracers {
		holds += len(t.Holds)
	}
	line := show.Plural(len(tracers), "tracer")
	if holds > 0 {
		line += ", " + show.Plural(holds, "thread") + " kept stopped"
	}
	return append(show.Align(rows, -1), line)
}
