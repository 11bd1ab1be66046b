package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/printable"
)

func newRecord() *cobra.Command {
	var opt options
	var g guards
	var fields []string
	var room int
	cmd := &cobra.Command{
		Use:   "record [-p PID]... [flags] LOCATION... [-- COMMAND [ARG]...]",
		Short: "Record numbers and strings of each call, a line a call",
		Long: `Record what --fields says of each call, a line a call: time of day,
process/thread, location and fields. Fields are expressions as of hist, and
strings: str(arg0), str(ret), comm. With ret among them the line is about the whole call:
arguments as they were at its entry, and how long it took.

` + aboutArgs + `

Records go through a ring that the program never waits for: a reader that is too
slow loses records, and how many is told.

With --json: {"time","pid","tid","probe","fields":{...},"took_ns"}; at the end, for
each LOCATION with calls that have no record, {"probe"} and how many: "dropped"
(the reader was slower), "faults" (memory not readable), "full" (no room), "lost"
(left without a return), "deep" (nested too deep), "orphans" (without an entry).`,
		Example: `  ptracer record --fields 'str(arg0),arg1' 'libc:fopen*' -- ls -l /
  ptracer record --fields 'int(arg0),arg2,ret' 'libc:write' -- sh -c 'echo hello'
  ptracer record -p 1234 --rate 100 --json -o calls.json 'libc:malloc'`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if err := opt.take(cmd, args); err != nil {
				return err
			}
			spec, err := g.spec("record", builtin.Params{Exprs: fields, Strings: room})
			if err != nil {
				return err
			}
			return record(&opt, spec, open, cmd.ErrOrStderr())
		}),
	}
	f := cmd.Flags()
	opt.bindRun(cmd)
	f.Var(&exprList{&fields}, "fields", "what to record: `EXPRESSIONS`, divided by commas")
	fields = []string{"arg0", "arg1", "arg2"}
	f.IntVar(&room, "strings", 0, "room for a string, in `BYTES` (default 64)")
	g.bind(cmd)
	opt.bind(cmd)
	return cmd
}

// exprList is a list of expressions, divided by the commas outside of brackets
// and quotes.
type exprList struct{ list *[]string }

func (e *exprList) String() string {
	if e.list == nil {
		return ""
	}
	return strings.Join(*e.list, ",")
}

func (e *exprList) Type() string { return "expressions" }

func (e *exprList) Set(text string) error {
	*e.list = nil
	depth, start, quote := 0, 0, rune(0)
	for i, c := range text {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			*e.list = append(*e.list, strings.TrimSpace(text[start:i]))
			start = i + 1
		}
	}
	*e.list = append(*e.list, strings.TrimSpace(text[start:]))
	return nil
}

func record(opt *options, spec engine.HandlerSpec, open opener, stderr io.Writer) error {
	out, err := openOutput(opt.output, stderr)
	if err != nil {
		return err
	}
	lines := sorter{out: out, json: opt.json, names: placeNames{}, order: ring.Order[recorded]{Span: uint64(2 * latency)}}
	readers := newReaders(lines.take)
	h, err := startHandling(opt, open, stderr, spec, lifePrinter(opt, stderr), readers.begin)
	if err != nil {
		readers.end()
		return errors.Join(err, out.close())
	}
	why := h.wait(out, latency, func() {
		readers.with(lines.pass)
		out.flush()
	})
	return h.finish(why, out, func() error {
		readers.end()
		lines.write(true)
		return h.writeUnrecorded(out)
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
func (h *handling) writeUnrecorded(w io.Writer) error {
	if !h.opt.json {
		return nil
	}
	var lines []unrecordedLine
	for i, x := range h.handlers {
		l := unrecordedLine{Probe: h.placeName(i, 0), Dropped: x.Lost() - h.lost[i]}
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
	return writeJSON(w, lines)
}

// sorter writes the records of several locations by time.
type sorter struct {
	out   io.Writer
	json  bool
	names placeNames
	order ring.Order[recorded]
}

type recorded struct {
	location string
	event    *builtin.Event
}

func (s *sorter) take(h *handling, i int, rec []byte) {
	x := h.handlers[i]
	r, err := x.Decode(rec)
	if e, ok := r.(*builtin.Event); ok && err == nil && !h.outside(x, e.Time) {
		s.order.Put(uint64(e.Time), recorded{s.names.shown(h.job, i, int(e.PID)), e})
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

// readers read the records of a job's handlers, each on a goroutine of its own.
type readers struct {
	take func(h *handling, i int, rec []byte)
	stop chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
}

func newReaders(take func(*handling, int, []byte)) *readers {
	return &readers{take: take, stop: make(chan struct{})}
}

// with runs f while no record is taken.
func (r *readers) with(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *readers) begin(h *handling) {
	for i, x := range h.handlers {
		if x.Info().Records {
			r.wg.Go(func() { r.read(h, i) })
		}
	}
}

// read reads to the end: what is there when the job is over, too.
func (r *readers) read(h *handling, i int) {
	x := h.handlers[i]
	for {
		rec, err := x.Read(time.Now().Add(latency))
		switch {
		case err == nil:
			r.with(func() { r.take(h, i, rec) })
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			select {
			case <-r.stop:
				return
			default:
			}
		}
	}
}

// end waits until all has been read.
func (r *readers) end() {
	close(r.stop)
	r.wg.Wait()
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
			_ = writeJSON(w, []recordLine{{at.Format(time.RFC3339Nano), e.PID, e.TID, location, fields, int64(e.Took)}})
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
