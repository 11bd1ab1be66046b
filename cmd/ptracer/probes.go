package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

func newProbes() *cobra.Command {
	var opt options
	cmd := &cobra.Command{
		Use:   "probes [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]",
		Short: "List what can be probed, and how",
		Long: `List the places that locations stand for, with the rung that serves each and
why not a faster one. The probes are planted for that and taken out again at
once. A command is started, and killed when its libraries are there: nothing of
its own code runs.

Rungs: jump (no stop at all), trap+slot (a stop, then the displaced instruction
elsewhere), trap+emulate (a stop, and we do what the instruction would),
trap+step (a stop and a single step), hardware (a debug register).
With --json: {"probe","pid","address","rung","reason","error"}.`,
		Example: `  ptracer probes -p 1234 'libc:mem*'
  ptracer probes 'main+*' -- ./prog
  ptracer probes --json '*:*alloc*' -- bash`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if err := opt.take(cmd, args); err != nil {
				return err
			}
			opt.listing = true
			return probes(&opt, open, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}),
	}
	opt.bind(cmd)
	return cmd
}

// place is one line of probes.
type place struct {
	Probe   string `json:"probe"`
	PID     int    `json:"pid"`
	Address string `json:"address"`
	Rung    string `json:"rung"`
	Reason  string `json:"reason"`
	Error   string `json:"error,omitempty"`
}

// probes writes to standard output: the list is what was asked for, and no
// program writes beside it.
func probes(opt *options, open opener, stdout, stderr io.Writer) error {
	out, err := openOutput(opt.output, stdout)
	if err != nil {
		return err
	}
	specs := make([]engine.ProbeSpec, len(opt.locations))
	for i, l := range opt.locations {
		specs[i] = engine.ProbeSpec{Location: l, Action: engine.Count}
	}
	j, err := startJob(opt, open, stderr, specs, func(*event.Event) {})
	if err != nil {
		return errors.Join(err, out.close())
	}
	list := placesOf(j.places())
	err = j.sess.Kill()
	<-j.drained
	return errors.Join(err, writePlaces(out, list, opt.json), out.close(), j.tellUnknown())
}

func placesOf(placements []engine.Placement) []place {
	list := make([]place, len(placements))
	for i, p := range placements {
		list[i] = place{Probe: p.Name, PID: p.PID, Address: p.Addr.String(), Rung: p.Rung.String(), Reason: p.Reason}
		if p.Err != nil {
			list[i].Rung, list[i].Error = "", root(p.Err).Error()
		}
	}
	return list
}

func writePlaces(w io.Writer, list []place, asJSON bool) error {
	if asJSON {
		return writeJSON(w, list)
	}
	cells := [][]string{{"PROBE", "ADDRESS", "RUNG", "WHY NOT FASTER"}}
	for _, p := range list {
		if p.Error != "" {
			p.Rung, p.Reason = "none", p.Error
		}
		cells = append(cells, []string{p.Probe, p.Address, p.Rung, p.Reason})
	}
	_, err := fmt.Fprintln(w, strings.Join(align(cells, -1), "\n"))
	return err
}
