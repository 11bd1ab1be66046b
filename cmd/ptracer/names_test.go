package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/bench"
	benchreport "github.com/ptracer/ptracer/bench/report"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/remains"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/sharing"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// hostile is a name with what a terminal obeys, what turns a line around, and a line of
// its own; odd is one without, for places where a name with an end of a line is refused.
const (
	hostile = "n\x1b[31m\a\x7f\u009b\u202e\ufeff\xff\t\u2028\r\nforged: a line"
	odd     = "x:\x1b[2J\u202eforged: a name"
)

var errHostile = errors.Join(fmt.Errorf("%s: %w", hostile, syscall.ENOENT), errors.New(hostile))

// TestNames has every verb print names that are hostile, in its result and in what it says:
// whatever is printed has no character of theirs that is not seen, and no line. A verb
// that is new fails until it is in the list, too.
func TestNames(t *testing.T) {
	quiet := []string{"version"} // it prints no name
	for _, cmd := range newRoot().Commands() {
		name := cmd.Name()
		prints, ok := printing[name]
		if slices.Contains(quiet, name) {
			continue
		}
		if !ok {
			t.Errorf("%s: what does it print of a hostile name?", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			var b lockedBuffer
			prints(t, &b)
			looksHarmless(t, b.String())
			wrongUsage(t, cmd)
		})
	}
}

// wrongUsage has a verb, and those below it, refuse what it does not know.
func wrongUsage(t *testing.T, cmd *cobra.Command) {
	path := strings.Fields(cmd.CommandPath())[1:]
	for _, wrong := range [][]string{{"--no" + hostile}, {"-" + hostile}, {"--json=" + hostile}, {"--pid=" + hostile}, {hostile, "--", hostile}} {
		var b bytes.Buffer
		status := run(append(slices.Clone(path), wrong...), &b, &b)
		if b.Len() > 0 {
			looksPlain(t, b.String())
		}
		if status == 0 && cmd.Name() != "handlers" { // which shows its help
			t.Errorf("%q: status 0, %q", wrong, b.String())
		}
	}
	for _, c := range cmd.Commands() {
		wrongUsage(t, c)
	}
}

// lockedBuffer takes what several goroutines say.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// looksHarmless holds that the names are there, and do no harm.
func looksHarmless(t *testing.T, text string) {
	t.Helper()
	if !strings.Contains(text, "forged") {
		t.Errorf("no hostile name in %q", text)
	}
	looksPlain(t, text)
}

func looksPlain(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("not UTF-8: %q", text)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if i := strings.IndexFunc(line, func(r rune) bool {
			return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		}); i >= 0 {
			t.Errorf("%q has a character that is not seen, at %d", line, i)
		}
		if strings.HasPrefix(strings.TrimPrefix(line, "ptracer: "), "forged") {
			t.Errorf("a name has forged a line: %q", line)
		}
	}
}

// printing has what each verb prints, on a session that the test controls, of
// hostile names.
var printing = map[string]func(*testing.T, io.Writer){
	"count":    func(t *testing.T, w io.Writer) { tell(w, count(watching(), hostileSession().open, w)) },
	"trace":    printTrace,
	"hist":     printHistogram,
	"latency":  printHistogram,
	"stacks":   printStacks,
	"record":   printRecords,
	"run":      printRun,
	"probes":   printProbes,
	"read":     printResident,
	"stop":     printResident,
	"handlers": printHandlers,
	"serve": func(t *testing.T, w io.Writer) {
		show.Say(w, "serving at %s", hostile)
		tell(w, serveAt(&serveOptions{socket: "/" + hostile + "/socket"}))
	},
	"tracers": func(t *testing.T, w io.Writer) { tell(w, writeTracers(w, hostileTracers(), false)) },
	"top":     func(t *testing.T, w io.Writer) { tell(w, writeTop(w, hottest(nil, hostileTracers(), 1), nil, false)) },
	"aside": func(t *testing.T, w io.Writer) {
		tell(w, exit.OfStart(hostile, syscall.ENOENT))
		show.Say(w, "process 7 is shared with %s", sharing.TracerNames(hostileTracers()))
	},
	"doctor": func(t *testing.T, w io.Writer) {
		tell(w, doctor(w, nil, false, func(int) []engine.Finding {
			return []engine.Finding{{Topic: "attach", OK: true, Text: hostile}, {Topic: "attach", Text: hostile, Help: hostile}}
		}))
	},
	"bench": printBench,
}

// tell prints an error as run does.
func tell(w io.Writer, err error) { report(errors.Join(err, errHostile), w) }

// watching is what a verb is asked that watches for a moment.
func watching() *flags.Options {
	return &flags.Options{Locations: []string{odd, "libnone" + odd, "x:*"}, PIDs: []int{7}, Duration: time.Millisecond, Verbose: true}
}

// named is a session in which all names are hostile.
type named struct {
	*fake
	result build.Result
}

func hostileSession() *named {
	f := newFake()
	lost, failed, other := placed("x:"+hostile, 7, 3), placed(hostile, 7, 0), placed("y:"+hostile, 7, 2)
	failed.Addr, other.Addr = 1, 2
	lost.Gap, lost.Reason, failed.Err = hostile, hostile, errors.New(hostile)
	f.found[odd], f.found["x:*"] = []engine.Placement{lost}, []engine.Placement{failed, other}
	for _, b := range []event.Body{
		&event.Released{Text: hostile}, &event.Reattached{Text: hostile},
		&event.Exec{Path: "/" + hostile}, &event.Hit{Probe: 1, Location: "x:" + hostile},
		&event.Hit{Probe: 2, Location: hostile, NArgs: 1, Args: [event.MaxArgs]uint64{1}, Strings: []string{hostile}},
		&event.Print{Location: hostile, Text: hostile},
	} {
		f.events <- event.Event{PID: 7, TID: 7, Body: b}
	}
	f.events <- event.Event{Body: &event.Warning{Text: hostile}}
	f.events <- event.Event{Body: &event.Failed{Text: hostile}}
	return &named{fake: f}
}

func (n *named) open(context.Context, *flags.Options, engine.Options) (engine.Session, int, error) {
	return n, 0, nil
}

func (n *named) Symbolize(int, arch.Addr) (engine.Symbol, bool) {
	return engine.Symbol{Binary: hostile, Path: hostile, Function: hostile + ";"}, true
}

func (n *named) OpenHandler(engine.HandlerSpec) (engine.Handler, error) {
	return &namedHandler{result: n.result}, nil
}

// namedHandler has one record, and a result of hostile names.
type namedHandler struct {
	engine.Handler
	result build.Result
	read   bool
}

func (h *namedHandler) Info() engine.HandlerInfo {
	return engine.HandlerInfo{Name: hostile, Why: hostile, Records: true, Failures: 1}
}

func (h *namedHandler) Read(time.Time) ([]byte, error) {
	if h.read {
		return nil, os.ErrClosed
	}
	h.read = true
	return []byte{1}, nil
}

func (h *namedHandler) Decode([]byte) (build.Result, error) {
	return &builtin.Event{Time: 1, Values: []builtin.Value{{Name: hostile, Kind: builtin.String, Str: hostile}}}, nil
}

func (h *namedHandler) Result() (build.Result, error) { return h.result, nil }
func (h *namedHandler) Since() int64                  { return 1 }
func (h *namedHandler) Lost() uint64                  { return 1 }
func (h *namedHandler) Unread() uint64                { return 1 }
func (h *namedHandler) Close() error                  { return errHostile }

func printTrace(t *testing.T, w io.Writer) {
	opt := watching()
	opt.Locations[1] = "x:* arg0:str"
	tell(w, trace(opt, 1, hostileSession().open, w))
}

func printHistogram(t *testing.T, w io.Writer) {
	for _, r := range []build.Result{&builtin.Histogram{Label: hostile, Unit: hostile}, &builtin.Values{Label: hostile}} {
		s := hostileSession()
		s.result = r
		tell(w, job.Summarize(watching(), engine.HandlerSpec{}, s.open, w, nil))
	}
	drawn := show.Fit([]string{hostile, hostile}, 200, 10)
	fmt.Fprintln(w, strings.Join(drawn, "\n"))
}

func printStacks(t *testing.T, w io.Writer) {
	s := hostileSession()
	s.result = &builtin.StackCounts{Stacks: []builtin.Stack{{Count: 3, Addrs: []arch.Addr{1, 2}}}}
	tell(w, job.Summarize(watching(), engine.HandlerSpec{}, s.open, w, nil))
}

func printRecords(t *testing.T, w io.Writer) {
	s := hostileSession()
	s.result = builtin.Unrecorded{}
	tell(w, record(watching(), engine.HandlerSpec{}, s.open, w))
	e, _ := (&namedHandler{}).Decode(nil)
	writeRecord(w, hostile, e.(*builtin.Event), false)
	tell(w, e.Text(w, 80))
}

func printRun(t *testing.T, w io.Writer) {
	s := hostileSession()
	s.result = build.Dump{{Name: hostile, Type: hostile}}
	opt := watching()
	tell(w, runFile(opt, &flags.Guards{}, []programAt{{location: odd}, {location: "x:*"}}, s.open, w))
	writeRaw(w, hostile, []byte{1}, false)
}

func printProbes(t *testing.T, w io.Writer) {
	for _, summary := range []bool{false, true} {
		opt := watching()
		opt.Listing = true
		tell(w, probes(opt, summary, hostileSession().open, w, w))
	}
}

func printResident(t *testing.T, w io.Writer) {
	tell(w, remains.WriteList(w, []remains.Process{{PID: 7, Comm: hostile}}, false))
	results := []engine.ResidentResult{{Location: hostile, Result: &builtin.Histogram{Label: hostile}}, {Location: odd, Result: builtin.Counter{}}}
	tell(w, remains.WriteResults(w, results, &tally.Tally{Seconds: 1}))
	job.TellLeft(w, 7, tally.Distinct(hostileSession().found["x:*"], func(*engine.Placement) bool { return true }), 1)
}

func printHandlers(t *testing.T, w io.Writer) {
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	h, err := builtin.Kinds[0].Make(ctx, builtin.Params{})
	if err != nil {
		t.Fatal(err)
	}
	p := h.At(build.Entry)
	p.Name, p.Funcs[0].Name, p.Maps[0].Name = hostile, hostile, hostile
	tell(w, verified(w, hostile, p, ctx))
	tell(w, p.WriteText(w))
	tell(w, describeMaps(w, []program.Map{{Name: hostile}}))
	tell(w, checkObjects(w, []string{"/" + hostile}))
}

func printBench(t *testing.T, w io.Writer) {
	r := &benchreport.Report{Version: hostile, Command: hostile, Ended: hostile, Method: []string{hostile},
		Machine: benchreport.Machine{CPU: hostile, Kernel: hostile, Governor: hostile, Load: hostile, Mitigations: []string{hostile}}}
	table := r.Table("hit", hostile, benchreport.Nanoseconds, hostile)
	table.Columns = []string{hostile}
	table.Rows = []*benchreport.Row{
		{Name: hostile, Group: hostile, Cells: map[string]*benchreport.Cell{hostile: {Values: []float64{1}, Rounds: []int{1}, Median: 1, Why: hostile}}},
		{Name: hostile, Why: hostile},
	}
	for _, o := range []benchOptions{{}, {markdown: true}, {benchstat: true}} {
		tell(w, o.write(w, r))
	}
	tell(w, r.SVG(w, benchreport.Chart{Title: hostile, Table: "hit", Columns: table.Columns, Legend: []string{hostile}}))
	p := benchProgress{w: w}
	p.tell(bench.Progress{What: hostile})
	tell(w, (&benchOptions{from: "/" + hostile}).run(w, w, func(context.Context, bench.Options) (*benchreport.Report, error) { return r, nil }))
}

func hostileTracers() []arbiter.TracerInfo {
	return []arbiter.TracerInfo{{ID: 1, Name: hostile, PID: 7, Processes: []int{7}, Probes: []string{hostile}, Hits: []uint64{3}}}
}
