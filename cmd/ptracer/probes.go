package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

func newProbes() *cobra.Command {
	opt := flags.Options{Listing: true}
	var summary bool
	cmd := &cobra.Command{
		Use:   "probes [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]",
		Short: "List what can be probed, and how",
		Long: `List the places that locations stand for, with the method that serves each and
why not a faster one. The probes are planted for that and taken out again at
once. A command is started, and killed when its libraries are there: nothing of
its own code runs.

Methods: jump (no stop at all), pun (the same, by a jump that ends in the program's
own bytes, mostly all but one: other tools' uprobes and breakpoints there do no
harm), trap+slot (a stop, then the displaced instruction
elsewhere), trap+emulate (a stop, and ptracer does what the instruction would),
trap+step (a stop and a single step), hardware (a debug register).
With --json: {"probe","pid","addr","method","reason","error"}; with --summary,
how many places each method serves, {"method","places","share","reasons"}: places
by reason why not a faster one.`,
		Example: `  ptracer probes -p 1234 'libc:mem*'
  ptracer probes 'main+*' -- ./prog
  ptracer probes --json '*:*alloc*' -- bash
  ptracer probes --summary 'libc:*' -- true`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if err := opt.Take(cmd, args); err != nil {
				return err
			}
			return probes(&opt, summary, job.Open, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}),
	}
	opt.Bind(cmd)
	cmd.Flags().BoolVar(&summary, "summary", false, "say how many places each method serves, instead of listing them")
	return cmd
}

// place is one line of probes.
type place struct {
	Probe  string `json:"probe"`
	PID    int    `json:"pid"`
	Addr   string `json:"addr"`
	Method string `json:"method"`
	Reason string `json:"reason"`
	Error  string `json:"error,omitempty"`
}

// probes writes to standard output: the list is what was asked for, and no
// program writes beside it.
func probes(opt *flags.Options, summary bool, open job.Opener, stdout, stderr io.Writer) error {
	out, err := show.OpenOutput(opt.Output, stdout)
	if err != nil {
		return err
	}
	specs := make([]engine.ProbeSpec, len(opt.Locations))
	for i, l := range opt.Locations {
		specs[i] = engine.ProbeSpec{Location: l, Action: engine.ActionCount}
	}
	j, err := job.Start(opt, open, stderr, specs, func(*event.Event) {})
	if err != nil {
		return errors.Join(err, out.Close())
	}
	list := placesOf(j.Distinct())
	err = j.Kill()
	write := writePlaces
	if summary {
		write = writeShares
	}
	err = errors.Join(err, write(out, list, opt.JSON))
	err = errors.Join(err, out.Close())
	return errors.Join(err, j.TellUnknown())
}

// share is one line of a summary.
type share struct {
	Method  string         `json:"method"`
	Places  int            `json:"places"`
	Share   float64        `json:"share"` // of all places
	Reasons map[string]int `json:"reasons"`
}

// addresses are what differs in reasons that are the same.
var addresses = regexp.MustCompile(`: (to|at) 0x[0-9a-f]+`)

// sharesOf counts places by method, those of the fastest first.
func sharesOf(list []place) []share {
	by := map[string]*share{}
	for _, p := range list {
		if p.Error != "" {
			p.Method, p.Reason = "none", p.Error
		}
		s := by[p.Method]
		if s == nil {
			s = &share{Method: p.Method, Reasons: map[string]int{}}
			by[p.Method] = s
		}
		s.Places++
		s.Share = float64(s.Places) / float64(len(list))
		if p.Reason != "" {
			s.Reasons[addresses.ReplaceAllString(p.Reason, "")]++
		}
	}
	rank := func(s share) int {
		r, err := breakpoint.ParseRung(s.Method)
		if err != nil {
			return 99
		}
		return int(r)
	}
	var all []share
	for _, s := range by {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b share) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

func writeShares(w io.Writer, list []place, asJSON bool) error {
	shares := sharesOf(list)
	if asJSON {
		return show.WriteJSON(w, shares)
	}
	cells := [][]string{{"METHOD", "PLACES", "SHARE", "WHY NOT FASTER"}}
	for _, s := range shares {
		cells = append(cells, []string{s.Method, fmt.Sprint(s.Places), fmt.Sprintf("%.1f %%", 100*s.Share), ""})
		why := slices.SortedFunc(maps.Keys(s.Reasons), func(a, b string) int {
			return cmp.Or(cmp.Compare(s.Reasons[b], s.Reasons[a]), cmp.Compare(a, b))
		})
		for _, r := range why {
			cells = append(cells, []string{"", fmt.Sprint(s.Reasons[r]), "", r})
		}
	}
	return show.WriteTable(w, cells, 1)
}

func placesOf(placements []tally.Place) []place {
	list := make([]place, len(placements))
	for i, p := range placements {
		list[i] = place{Probe: p.Name, PID: p.PID, Addr: p.Addr.String(), Method: tally.MethodOf(&p.Placement), Reason: p.Reason}
		if p.Gap != "" {
			list[i].Reason = p.Gap
		}
		if p.Err != nil {
			list[i].Method, list[i].Error = "", exit.Root(p.Err).Error()
		}
	}
	return list
}

func writePlaces(w io.Writer, list []place, asJSON bool) error {
	if asJSON {
		return show.WriteJSON(w, list)
	}
	cells := [][]string{{"PROBE", "ADDRESS", "METHOD", "WHY NOT FASTER"}}
	for _, p := range list {
		if p.Error != "" {
			p.Method, p.Reason = "none", p.Error
		}
		cells = append(cells, []string{p.Probe, p.Addr, p.Method, p.Reason})
	}
	return show.WriteTable(w, cells, -1)
}
