package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/printable"
)

// handled is what the verbs want of a handler that a session has opened.
type handled interface {
	Info() engine.HandlerInfo
	Result() (build.Result, error)
	Lost() uint64
	Unread() uint64
	Close() error
}

// handling is a job whose probes run handlers, one for each location: what it
// finds out is told at the end.
type handling struct {
	*job
	handlers []engine.Handler
	lost     []uint64 // records of each that were lost before the window
}

// startHandling attaches or starts with a handler at each location; begun, if
// not nil, is called before the first hit.
func startHandling(opt *options, open opener, stderr io.Writer, spec engine.HandlerSpec, life func(*event.Event), begun func(*handling)) (*handling, error) {
	specs := make([]engine.ProbeSpec, len(opt.locations))
	for i, l := range opt.locations {
		specs[i] = engine.ProbeSpec{Location: l}
	}
	j, err := newJob(opt, stderr, specs, life)
	if err != nil {
		return nil, err
	}
	h := &handling{job: j}
	j.before = func() {
		for i, x := range h.handlers {
			h.lost[i] = x.Lost()
		}
	}
	j.limited(spec.Params.Guards, func() []engine.Handler { return h.handlers })
	j.ready = func(s engine.Session) error {
		for i := range j.probes {
			x, err := s.OpenHandler(spec)
			if err != nil {
				return err
			}
			h.handlers, h.lost = append(h.handlers, x), append(h.lost, 0)
			j.probes[i].spec.Handler = x
		}
		if begun != nil {
			begun(h)
		}
		return nil
	}
	if err := j.start(open); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *handling) close() error {
	var errs []error
	for _, x := range h.handlers {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// result gives each location's, with a heading where there are several.
func (h *handling) write(w io.Writer, columns int) error {
	for i, x := range h.handlers {
		r, err := x.Result()
		if err != nil {
			return err
		}
		h.named(r)
		if h.opt.json {
			if err := writeResult(w, resultLine{Probe: h.placeName(i, 0), Seconds: h.seconds(), Uncounted: h.uncounted(), Unread: x.Unread()}, r); err != nil {
				return err
			}
			continue
		}
		if len(h.handlers) > 1 {
			if err := printable.Write(w, printable.Name(h.opt.locations[i])); err != nil {
				return err
			}
		}
		if err := r.Text(w, columns); err != nil {
			return err
		}
	}
	if h.opt.json || h.seconds() == 0 {
		return nil
	}
	return printable.Write(w, in("counted", h.seconds()))
}

// resultLine is what a location's handler has found out, in JSON: hits of one that only
// counts, else a result.
type resultLine struct {
	Probe   string          `json:"probe"`
	Hits    *uint64         `json:"hits,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Seconds float64         `json:"seconds,omitempty"`
	// Uncounted is hits of all places together that are in no result.
	Uncounted uint64 `json:"uncounted,omitempty"`
	// Unread is hits that the condition could not be told of.
	Unread uint64 `json:"unread,omitempty"`
}

// writeResult writes what a location's handler found out as one object a line.
func writeResult(w io.Writer, l resultLine, r build.Result) (err error) {
	if c, counts := r.(builtin.Counter); counts {
		l.Hits = &c.Hits
	} else if l.Result, err = json.Marshal(r); err != nil {
		return err
	}
	return writeJSON(w, []resultLine{l})
}

// lines is the present result, for a terminal.
func (h *handling) lines(columns int) []string {
	var b bytes.Buffer
	if h.write(&b, columns) != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// finish ends a handling with its result.
func (h *handling) finish(why reason, out *output, result func() error) error {
	err := h.conclude(why, out, result)
	for i, x := range h.handlers {
		h.tell(h.opt.locations[i], x, h.lost[i])
	}
	return errors.Join(err, h.close())
}

// tell says what must be known about a handler beside its result.
func (h *handling) tell(location string, x handled, before uint64) {
	info := x.Info()
	if h.opt.verbose {
		h.say("%s: %s ran in the %v (%s)", location, info.Name, info.Where, info.Why)
	}
	if info.Failures > 0 {
		h.say("%s: %s failed %d times: its result is wrong", location, info.Name, info.Failures)
	}
	if n := x.Unread(); n > 0 {
		h.say("%s: %s not taken: memory that the condition asks for could not be read", location, plural(int(n), "hit"))
	}
	r, _ := x.Result()
	switch r := r.(type) {
	case builtin.Unrecorded:
		if r.Any() {
			h.say("%s: calls without a record: %v", location, r)
		}
	case *builtin.StackCounts:
		if s := r.Misses.Missing(); s != "" {
			h.say("%s: stacks %s", location, s)
		}
	}
	if n := x.Lost(); n > before {
		n -= before
		h.say("%s: %s lost: their reader was slower; --filter, --every or --rate make them fewer", location, plural(int(n), "record"))
	}
}

// columns is how wide a result may be.
func columns(out *output) int {
	if width, _, ok := terminal(out.to); ok {
		return width
	}
	return 80
}

// verbose gives the events of processes' lives to a printer, if asked for.
func lifePrinter(opt *options, stderr io.Writer) func(*event.Event) {
	if !opt.verbose {
		return func(*event.Event) {}
	}
	return newPrinter(opt, stderr).print
}

// summarize runs a handler at each location and writes what it found out: by
// the given function, or as it is, and then also while it runs where there is a
// terminal for it.
func summarize(opt *options, spec engine.HandlerSpec, open opener, stderr io.Writer, result func(*handling, io.Writer) error) error {
	out, err := openOutput(opt.output, stderr)
	if err != nil {
		return err
	}
	h, err := startHandling(opt, open, stderr, spec, lifePrinter(opt, stderr), nil)
	if err != nil {
		return errors.Join(err, out.close())
	}
	if opt.resident {
		err := h.leave(out)
		return errors.Join(err, h.close())
	}
	screen := &screen{}
	if result == nil {
		screen = newScreen(opt, stderr)
		result = func(h *handling, w io.Writer) error { return h.write(w, columns(out)) }
	}
	why := h.wait(out, refresh, func() {
		screen.show(func() []string { return h.lines(columns(out) - 1) })
	})
	screen.clear()
	return h.finish(why, out, func() error { return result(h, out) })
}
