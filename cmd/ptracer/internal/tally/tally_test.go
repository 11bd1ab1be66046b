package tally

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

func TestTable(t *testing.T) {
	all := []engine.Placement{
		{Name: "a:f", PID: 1, Hits: 5, Rung: breakpoint.Slot},
		{Name: "a:f", PID: 2, Hits: 10, Rung: breakpoint.Emulate},
		{Name: "a:long_name", PID: 1, Hits: 1200, Rung: breakpoint.Slot},
		{Name: "a:none", PID: 1, Rung: breakpoint.Slot},
		{Name: "a:bad", PID: 1, Err: breakpoint.ErrForeign},
		{Name: "a:e", PID: 1, Hits: 15, Rung: breakpoint.Slot},
	}
	gaps := []engine.Placement{
		{Name: "a:f", PID: 1, Hits: 5, Rung: breakpoint.Slot, Gap: "lost"},
		{Name: "a:later", PID: 1, Gap: "not bound"},
	}
	for _, c := range []struct {
		name   string
		places []engine.Placement
		named  bool
		want   string
	}{
		{"glob", all, false, `
PROBE        HITS  METHOD
a:long_name  1200  trap+slot
a:e            15  trap+slot
a:f            15  trap+slot,trap+emulate
3 of 4 places hit`},
		{"named", all[3:4], true, `
PROBE   HITS  METHOD
a:none     0  trap+slot`},
		{"gaps", gaps, true, `
PROBE    HITS  METHOD
a:f         5  trap+slot
a:later     0  none`},
		{"nothing hit", all[3:4], false, `
0 of 1 place hit`},
		{"nothing", nil, false, `
0 of 0 places hit`},
	} {
		named := func(*engine.Placement) bool { return c.named }
		if got := "\n" + strings.Join((&Tally{Rows: RowsOf(c.places, false, named)}).Table(), "\n"); got != c.want {
			t.Errorf("%s:%s\nwant:%s", c.name, got, c.want)
		}
	}
	var b bytes.Buffer
	const want = `{"probe":"a:long_name","pid":1,"hits":1200,"method":"trap+slot","seconds":1.5,"uncounted":3}
{"probe":"a:e","pid":1,"hits":15,"method":"trap+slot","seconds":1.5,"uncounted":3}
{"probe":"a:f","pid":2,"hits":10,"method":"trap+emulate","seconds":1.5,"uncounted":3}
{"probe":"a:f","pid":1,"hits":5,"method":"trap+slot","seconds":1.5,"uncounted":3}
`
	result := Tally{Rows: RowsOf(all, true, func(*engine.Placement) bool { return false }), Seconds: 1.5, Uncounted: 3}
	if err := show.WriteJSON(&b, result.Objects()); err != nil || b.String() != want {
		t.Errorf("JSON, %v:\n%swant:\n%s", err, b.String(), want)
	}
}

func TestGapsJSON(t *testing.T) {
	places := []engine.Placement{{Name: "a:f", PID: 1, Hits: 5, Rung: breakpoint.Slot, Gap: "lost"}, {Name: "a:later", PID: 1, Gap: "not bound"}, {Name: "a:idle", PID: 1}}
	var b bytes.Buffer
	const want = `{"probe":"a:f","pid":1,"hits":5,"method":"trap+slot","gap":"lost"}
{"probe":"a:later","pid":1,"hits":0,"method":"none","gap":"not bound"}
`
	if err := show.WriteJSON(&b, (&Tally{Rows: RowsOf(places, true, func(*engine.Placement) bool { return false })}).Objects()); err != nil || b.String() != want {
		t.Errorf("JSON, %v:\n%swant:\n%s", err, b.String(), want)
	}
}

// TestDistinct has places that several probes are at: each has one row, with one number.
func TestDistinct(t *testing.T) {
	at := func(probe event.ProbeID, name string, pid, space int, addr arch.Addr, hits uint64) engine.Placement {
		return engine.Placement{Probe: probe, Name: name, PID: pid, Space: space, Addr: addr, Hits: hits, Rung: breakpoint.Jump}
	}
	exit := at(2, "a:f%return", 1, 1, 16, 5)
	exit.Exit = true
	failed := at(3, "a:f", 1, 1, 16, 0)
	failed.Err = errors.ErrUnsupported
	for name, c := range map[string]struct {
		places []engine.Placement
		globs  []event.ProbeID
		want   string
	}{
		"twice":                {[]engine.Placement{at(1, "a:f", 1, 1, 16, 5), at(2, "a:f", 1, 1, 16, 5)}, nil, "a:f 5 []"},
		"by glob, then name":   {[]engine.Placement{at(1, "a:f", 1, 1, 16, 5), at(2, "a:g", 1, 1, 16, 5)}, []event.ProbeID{1}, "a:g 5 []"},
		"two names":            {[]engine.Placement{at(1, "a:f", 1, 1, 16, 5), at(2, "a:g", 1, 1, 16, 5)}, nil, "a:f 5 [a:g]"},
		"two processes":        {[]engine.Placement{at(1, "a:f", 1, 1, 16, 5), at(1, "a:f", 2, 2, 16, 7), at(2, "a:f", 1, 1, 16, 5), at(2, "a:f", 2, 2, 16, 7)}, nil, "a:f 12 []"},
		"two programs":         {[]engine.Placement{at(1, "a:f", 1, 1, 16, 5), at(1, "a:f", 1, 2, 16, 7), at(2, "a:f", 1, 1, 16, 5), at(2, "a:f", 1, 2, 16, 7)}, nil, "a:f 12 []"},
		"loaded again":         {[]engine.Placement{at(1, "a:f", 1, 1, 16, 5), at(1, "a:f", 1, 1, 16, 7), at(2, "a:f", 1, 1, 16, 5), at(2, "a:f", 1, 1, 16, 7)}, nil, "a:f 12 []"},
		"an exit at the entry": {[]engine.Placement{at(1, "a:f", 1, 1, 16, 5), exit}, nil, "a:f 5 [];a:f%return 5 []"},
		"one failed":           {[]engine.Placement{at(1, "a:f", 1, 1, 16, 5), failed}, nil, "a:f 5 []"},
		"the first failed":     {[]engine.Placement{failed, at(4, "a:f", 1, 1, 16, 5)}, nil, "a:f 5 []"},
	} {
		var got []string
		for _, r := range RowsOf(c.places, false, func(p *engine.Placement) bool { return !slices.Contains(c.globs, p.Probe) }) {
			got = append(got, fmt.Sprint(r.Probe, " ", r.Hits, " ", r.Also))
		}
		if s := strings.Join(got, ";"); s != c.want {
			t.Errorf("%s: %s, want %s", name, s, c.want)
		}
	}
}
