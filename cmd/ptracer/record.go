package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/printable"
	"github.com/ptracer/ptracer/symbols/location"
)

func newRecord() *cobra.Command {
	var opt flags.Options
	var g flags.Guards
	var fields []string
	var room int
	cmd := &cobra.Command{
		Use:   "record [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]",
		Short: "Record numbers and strings of each call, a line a call",
		Long: `Record what --fields says of each call, a line a call: time of day,
process/thread, location and fields. Fields are expressions as of hist, and
strings: str(arg0), str(ret), comm. With ret among them the line is about the whole call:
arguments as they were at its entry, and how long it took; strings and whole
structures are read when it is over, where they were at the entry. Fields with names of the
program are shown as what they are: structures and arrays (of up to 256 bytes) by
their members, enumerations by name; args stands for all arguments.

` + flags.AboutArgs + `

` + flags.AboutNames + `

Records go through a ring that the program never waits for: a reader that is too
slow loses records, and how many is told.

With --json: {"time","pid","tid","probe","fields":{...},"took_ns"}; at the end, for
each LOCATION with calls that have no record, {"probe"} and how many: "dropped"
(the reader was slower), "faults" (memory not readable), "full" (no room), "lost"
(left without a return), "deep" (nested too deep), "orphans" (without an entry).`,
		Example: `  ptracer record --fields 'str(arg0),arg1' 'libc:fopen*' -- ls -l /
  ptracer record --fields 'int(arg0),arg2,ret' 'libc:write' -- sh -c 'echo hello'
  ptracer record -p 1234 --fields 'req.URL.Path,len(req.Body),ret' 'main.(*Store).Commit'
  ptracer record -p 1234 --fields 'args,ret' --filter 'order->total > 1000' 'handle'
  ptracer record -p 1234 --rate 100 --json -o calls.json 'libc:malloc'`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if err := opt.Take(cmd, args); err != nil {
				return err
			}
			if !cmd.Flags().Changed("fields") && onlyLines(opt.Locations) {
				fields = []string{"comm"} // a line has no arguments
			}
			spec, err := g.Spec("record", builtin.Params{Exprs: fields, Strings: room})
			if err != nil {
				return err
			}
			return record(&opt, spec, job.Open, cmd.ErrOrStderr())
		}),
	}
	f := cmd.Flags()
	opt.BindRun(cmd)
	f.Var(&flags.ExprList{List: &fields}, "fields", "what to record: `EXPRESSIONS`, divided by commas")
	fields = []string{"arg0", "arg1", "arg2"}
	f.IntVar(&room, "strings", 0, "room for a string, in `BYTES` (default 64)")
	g.Bind(cmd)
	opt.Bind(cmd)
	return cmd
}

// onlyLines reports whether all locations are lines of the source.
func onlyLines(locations []string) bool {
	return !slices.ContainsFunc(locations, func(text string) bool {
		loc, err := location.Parse(text)
		return err != nil || loc.File == ""
	})
}

func record(opt *flags.Options, spec engine.HandlerSpec, open job.Opener, stderr io.Writer) error {
	out, err := show.OpenOutput(opt.Output, stderr)
	if err != nil {
		return err
	}
	lines := sorter{out: out, json: opt.JSON, names: job.PlaceNames{}, order: ring.Order[recorded]{Span: uint64(2 * job.Latency)}}
	readers := job.NewReaders(lines.take)
	h, err := job.StartHandling(opt, open, stderr, spec, job.LifePrinter(opt, stderr), readers.Begin)
	if err != nil {
		readers.End()
		return errors.Join(err, out.Close())
	}
	why := h.Wait(out, job.Latency, func() {
		readers.With(lines.pass)
		out.Flush()
	})
	return h.Finish(why, out, func() error {
		readers.End()
		lines.write(true)
		return writeUnrecorded(h, out)
	})
}

// unrecordedLine tells in JSON how many calls have no record, and why.
type unrecordedLine struct {
	Probe   string `json:"probe"`
	Dropped uint64 `json:"dropped,omitempty"` // records that the reader was too slow for
	builtin.Misses
	builtin.Unpaired
}

// writeUnrecorded writes, as JSON, which calls have no record. In text it is said on
// standard error (tell).
func writeUnrecorded(h *job.Handling, w io.Writer) error {
	if !h.Options.JSON {
		return nil
	}
	var lines []unrecordedLine
	for i, x := range h.Handlers {
		l := unrecordedLine{Probe: h.PlaceName(i, 0), Dropped: x.Lost() - h.Lost[i]}
		r, err := x.Result()
		if err != nil {
			return err
		}
		if u, ok := r.(builtin.Unrecorded); ok {
			l.Misses, l.Unpaired = u.Misses, u.Unpaired
		}
		if l != (unrecordedLine{Probe: l.Probe}) {
			lines = append(lines, l)
		}
	}
	return show.WriteJSON(w, lines)
}

// sorter writes the records of several locations by time.
type sorter struct {
	out   io.Writer
	json  bool
	names job.PlaceNames
	order ring.Order[recorded]
}

type recorded struct {
	location string
	event    *builtin.Event
}

func (s *sorter) take(h *job.Handling, i int, rec []byte) {
	x := h.Handlers[i]
	r, err := x.Decode(rec)
	if e, ok := r.(*builtin.Event); ok && err == nil && !h.Outside(x, e.Time) {
		s.order.Put(uint64(e.Time), recorded{s.names.Shown(h.Job, i, int(e.PID)), e})
		s.write(false)
	}
}

// pass writes what waits for nothing any more.
func (s *sorter) pass() {
	s.order.Pass(uint64(engine.Now()))
	s.write(false)
}

func (s *sorter) write(all bool) {
	for r, ok := s.order.Next(all); ok; r, ok = s.order.Next(all) {
		writeRecord(s.out, r.location, r.event, s.json)
	}
}

// recordLine is a record in JSON.
type recordLine struct {
	Time   string          `json:"time"`
	PID    uint32          `json:"pid"`
	TID    uint32          `json:"tid"`
	Probe  string          `json:"probe"`
	Fields json.RawMessage `json:"fields"`
	Took   int64           `json:"took_ns,omitempty"`
}

// writeRecord writes one line. Errors of the output are its own business.
func writeRecord(w io.Writer, location string, e *builtin.Event, asJSON bool) {
	at := engine.Wall(int64(e.Time))
	if asJSON {
		fields, err := e.Fields()
		if err == nil {
			_ = show.WriteJSON(w, []recordLine{{at.Format(time.RFC3339Nano), e.PID, e.TID, location, fields, int64(e.Took)}})
		}
		return
	}
	line := fmt.Appendf(nil, "%s %d/%d %s", at.Format("15:04:05.000000"), e.PID, e.TID, printable.Name(location))
	for _, v := range e.Values {
		line = fmt.Appendf(line, " %s=%v", v.Name, v)
	}
	if e.Took != 0 {
		line = fmt.Appendf(line, " took=%v", e.Took)
	}
	_ = printable.Write(w, string(line))
}
