package job

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/printer"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/printable"
	"github.com/ptracer/ptracer/symbols"
)

// handled is what the verbs want of a handler that a session has opened.
type handled interface {
	Info() engine.HandlerInfo
	Result() (build.Result, error)
	Lost() uint64
	Unread() uint64
	Close() error
}

// Handling is a job whose probes run handlers, one for each location: what it
// finds out is told at the end.
type Handling struct {
	*Job
	Handlers []engine.Handler
	Lost     []uint64 // records of each that were lost before the window
}

// StartHandling attaches or starts with a handler at each location; begun, if
// not nil, is called before the first hit.
func StartHandling(opt *flags.Options, open Opener, stderr io.Writer, spec engine.HandlerSpec, life func(*event.Event), begun func(*Handling)) (*Handling, error) {
	specs := make([]engine.ProbeSpec, len(opt.Locations))
	for i, l := range opt.Locations {
		specs[i] = engine.ProbeSpec{Location: l}
	}
	j, err := New(opt, stderr, specs, life)
	if err != nil {
		return nil, err
	}
	h := &Handling{Job: j}
	j.before = func() {
		for i, x := range h.Handlers {
			h.Lost[i] = x.Lost()
		}
	}
	j.Limited(spec.Params.Guards, func() []engine.Handler { return h.Handlers })
	j.Ready = func(s engine.Session) error {
		for i := range j.probes {
			if err := h.Open(s, i, spec); err != nil {
				return err
			}
		}
		if begun != nil {
			begun(h)
		}
		return nil
	}
	if err := j.Start(open); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Open opens the handler of location i, the next one.
func (h *Handling) Open(s engine.Session, i int, spec engine.HandlerSpec) error {
	x, err := s.OpenHandler(spec)
	if err != nil {
		return err
	}
	h.Handlers, h.Lost = append(h.Handlers, x), append(h.Lost, 0)
	h.probes[i].spec.Handler = x
	return nil
}

// Close closes the handlers.
func (h *Handling) Close() error {
	var errs []error
	for _, x := range h.Handlers {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// write gives each location's result, with a heading where there are several.
func (h *Handling) write(w io.Writer, columns int) error {
	for i, x := range h.Handlers {
		r, err := x.Result()
		if err != nil {
			return err
		}
		h.named(r)
		if h.Options.JSON {
			if err := tally.WriteResult(w, tally.ResultLine{Probe: h.PlaceName(i, 0), Seconds: h.seconds(), Uncounted: h.uncounted(), Unread: x.Unread()}, r); err != nil {
				return err
			}
			continue
		}
		if len(h.Handlers) > 1 {
			if err := printable.Write(w, printable.Name(h.Options.Locations[i])); err != nil {
				return err
			}
		}
		if err := r.Text(w, columns); err != nil {
			return err
		}
	}
	if h.Options.JSON || h.seconds() == 0 {
		return nil
	}
	return printable.Write(w, show.In("counted", h.seconds()))
}

// lines is the present result, for a terminal.
func (h *Handling) lines(columns int) []string {
	var b bytes.Buffer
	if h.write(&b, columns) != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// Finish ends a handling with its result.
func (h *Handling) Finish(why Reason, out *show.Output, result func() error) error {
	err := h.Conclude(why, out, result)
	for i, x := range h.Handlers {
		h.tell(h.Options.Locations[i], x, h.Lost[i])
	}
	return errors.Join(err, h.Close())
}

// tell says what must be known about a handler beside its result.
func (h *Handling) tell(location string, x handled, before uint64) {
	info := x.Info()
	if h.Options.Verbose {
		h.say("%s: %s ran in the %v (%s)", location, info.Name, info.Where, info.Why)
	}
	if info.Failures > 0 {
		h.say("%s: %s failed %d times: its result is wrong", location, info.Name, info.Failures)
	}
	if n := x.Unread(); n > 0 {
		h.say("%s: %s not taken: memory that the condition asks for could not be read", location, show.Plural(int(n), "hit"))
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
		h.say("%s: %s lost: their reader was slower; --filter, --every or --rate make them fewer", location, show.Plural(int(n), "record"))
	}
}

// LifePrinter gives the events of processes' lives to a printer, if asked for.
func LifePrinter(opt *flags.Options, stderr io.Writer) func(*event.Event) {
	if !opt.Verbose {
		return func(*event.Event) {}
	}
	return printer.New(stderr, opt.JSON, opt.Verbose).Print
}

// Summarize runs a handler at each location and writes what it found out: by
// the given function, or as it is, and then also while it runs where there is a
// terminal for it.
func Summarize(opt *flags.Options, spec engine.HandlerSpec, open Opener, stderr io.Writer, result func(*Handling, io.Writer) error) error {
	out, err := show.OpenOutput(opt.Output, stderr)
	if err != nil {
		return err
	}
	h, err := StartHandling(opt, open, stderr, spec, LifePrinter(opt, stderr), nil)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	if opt.Resident {
		err := h.Leave(out)
		return errors.Join(err, h.Close())
	}
	screen := show.NewScreen(nil)
	if result == nil {
		screen = ScreenOf(opt, stderr)
		result = func(h *Handling, w io.Writer) error { return h.write(w, show.Columns(out)) }
	}
	why := h.Wait(out, Refresh, func() {
		screen.Show(func() []string { return h.lines(show.Columns(out) - 1) })
	})
	screen.Clear()
	return h.Finish(why, out, func() error { return result(h, out) })
}

// named gives a result of stacks names.
func (h *Handling) named(r build.Result) {
	if s, ok := r.(*builtin.StackCounts); ok {
		s.Name = func(pid uint32, at arch.Addr) string {
			sym, ok := h.Session.Symbolize(int(pid), at)
			switch {
			case !ok:
				return ""
			case sym.Function == "":
				return "[" + sym.Binary + "]"
			}
			return SourceName(sym.Function)
		}
	}
}

// SourceName is a function's name as tables of places have it: that of its source in C++ or
// Rust, not the linker's.
func SourceName(function string) string { return symbols.Function{Name: function}.Demangled() }

// Counts are the stacks of each probe.
func (h *Handling) Counts(each func(i int, s *builtin.StackCounts) error) error {
	for i, x := range h.Handlers {
		r, err := x.Result()
		if err != nil {
			return err
		}
		if s, ok := r.(*builtin.StackCounts); ok {
			if err := each(i, s); err != nil {
				return err
			}
		}
	}
	return nil
}
