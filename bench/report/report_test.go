package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// sample is a report with one of each part.
func sample() *Report {
	r := &Report{
		Version: "v1.2", Command: "ptracer bench --quick", Date: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
		Took: 19300 * time.Millisecond, Rounds: 3, Ended: "out of time after 40 of 60 measurements",
		Machine: Machine{CPU: "ACME 3000", Arch: "amd64", CPUs: 2, Kernel: "6.18.1", Virtual: "guest of KVM",
			Mitigations: []string{"srso", "spectre_v2"}, Governor: "not told", Load: "0.10", Rights: "root", Pinned: "nothing"},
		Method: []string{"Rounds are interleaved.", "The spread is that of the rounds: " + strings.Repeat("so it is ", 20)},
	}
	t := r.Table("hit", "A hit", Nanoseconds, "Less what the call costs.")
	for _, c := range []string{"push", "cmp"} {
		t.Column(c)
	}
	count, limit := t.Row("ptracer count", "ptracer"), t.Row("a jump by hand", "reference")
	uprobe, none := t.Row("uprobe + eBPF", "kernel"), t.Row("uprobe multi", "kernel")
	for round := range 3 {
		v := float64(round)
		count.Add("push", round, 2+v/10)
		count.Add("cmp", round, 2.5)
		limit.Add("push", round, 0.5+0.4*v) // too far apart for a ratio
		limit.Add("cmp", round, []float64{-0.2, 0.1, 0.3}[round])
		uprobe.Add("push", round, 1400+100*v)
	}
	uprobe.Fail("cmp", "no uprobe on this | instruction")
	none.Fail("push", "no right: needs CAP_BPF and CAP_PERFMON, or root of the machine, which is a long text")
	none.Fail("cmp", "no right: needs CAP_BPF and CAP_PERFMON, or root of the machine, which is a long text")
	t.Ratio("uprobe / count", "uprobe + eBPF", "ptracer count")
	t.Ratio("count / by hand", "ptracer count", "a jump by hand")
	t.Ratio("multi / count", "uprobe multi", "ptracer count")
	p := r.Table("memory", "Memory", Bytes)
	p.Column("10,000 probes")
	p.Row("count", "ptracer").Add("10,000 probes", 0, 131072)
	takes := p.Row("planting takes", "ptracer")
	takes.Unit = Nanoseconds
	takes.Add("10,000 probes", 0, 283e6)
	r.Finish()
	return r
}

// golden compares a text with a file of testdata; UPDATE=1 writes it.
func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("%s:\n%s", name, d)
	}
}

var chart = Chart{Table: "hit", Columns: []string{"push", "cmp"}, Legend: []string{"on push", "on cmp"}, Title: "What a hit costs & why"}

func TestGoldens(t *testing.T) {
	r := sample()
	golden(t, "wide.txt", func(w io.Writer) error { return r.Text(w, 120) })
	golden(t, "narrow.txt", func(w io.Writer) error { return r.Text(w, 40) })
	golden(t, "report.md", r.Markdown)
	golden(t, "report.json", r.JSON)
	golden(t, "benchstat.txt", r.Benchstat)
	golden(t, "chart.svg", func(w io.Writer) error { return r.SVG(w, chart) })
}

// TestJSON: a report that is read back is written the same, in every form.
func TestJSON(t *testing.T) {
	r := sample()
	var b bytes.Buffer
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	back, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(*Report, io.Writer) error{
		"text":     func(r *Report, w io.Writer) error { return r.Text(w, 90) },
		"markdown": (*Report).Markdown, "benchstat": (*Report).Benchstat, "JSON": (*Report).JSON,
		"SVG": func(r *Report, w io.Writer) error { return r.SVG(w, chart) },
	} {
		var x, y bytes.Buffer
		if err := errors.Join(write(r, &x), write(back, &y)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(x.String(), y.String()); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
	for _, bad := range []string{"", "{", "{}", "[1]"} {
		if _, err := Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// TestBenchstat compares each line with the format (golang.org/design/14313).
func TestBenchstat(t *testing.T) {
	var b bytes.Buffer
	if err := sample().Benchstat(&b); err != nil {
		t.Fatal(err)
	}
	config := regexp.MustCompile(`^[a-z][^A-Z\s]*: .+$|^# `)
	result := regexp.MustCompile(`^Benchmark[A-Z]\S*/way=[A-Za-z0-9_+]+/at=[A-Za-z0-9_+]+ 1 -?[0-9.e+-]+ [^\s]+/op$`)
	results := 0
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if result.MatchString(line) {
			results++
		} else if !config.MatchString(line) {
			t.Errorf("%q", line)
		}
	}
	if results != 17 {
		t.Errorf("%d results", results)
	}
}

// TestSVG: the drawing is well formed, and no bar leaves the page.
func TestSVG(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	r.Find("hit").Row("very slow <peer>", "peer").Add("push", 0, 1.5e9)
	if err := r.SVG(&b, chart); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(&b); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := (&Report{}).SVG(io.Discard, chart); err == nil {
		t.Error("a chart of nothing")
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values            []float64
		median, low, high float64
	}{
		{nil, 0, 0, 0},
		{[]float64{3}, 3, 3, 3},
		{[]float64{4, 2}, 3, 2, 4},
		{[]float64{9, 1, 2}, 2, 1, 9}, // few: the least and the most
		{[]float64{1, 2, 3, 4, 1000}, 3, 2, 4},
		{[]float64{6, 5, 4, 3, 2, 1}, 3.5, 2.25, 4.75},
	} {
		before := append([]float64{}, c.values...)
		median, low, high := Spread(c.values)
		if median != c.median || low != c.low || high != c.high {
			t.Errorf("%v: %v (%v to %v)", c.values, median, low, high)
		}
		if !cmp.Equal(before, c.values) && len(before) > 0 {
			t.Errorf("%v was sorted", before)
		}
	}
}

// TestRatio: rounds are paired, and a meaningless ratio is refused.
func TestRatio(t *testing.T) {
	var r Report
	tb := r.Table("t", "", Nanoseconds)
	tb.Column("c")
	a, b := tb.Row("a", ""), tb.Row("b", "")
	for i, v := range []float64{10, 20, 30} {
		a.Add("c", i, 10*v)
		if i != 1 { // one of them was not measured in this round
			b.Add("c", i, v)
		}
	}
	tb.Ratio("a / b", "a", "b")
	tb.Ratio("a / nobody", "a", "nobody")
	r.Finish()
	if len(tb.Ratios) != 1 {
		t.Fatalf("%d rows of ratios", len(tb.Ratios))
	}
	c := tb.Ratios[0].Cells["c"]
	if !cmp.Equal(c.Values, []float64{10, 10}) || c.Refused {
		t.Errorf("%+v", c)
	}
	b.Add("c", 1, 1)
	r.Finish()
	if c := tb.Ratios[0].Cells["c"]; !c.Refused || c.text(Times) != "?" {
		t.Errorf("a spread from 10 to 200 makes a ratio: %+v", c)
	}
}

// TestRatioNoise: one round of five with a divisor of 0 has no effect, two do; and every result can
// be written.
func TestRatioNoise(t *testing.T) {
	for n := 1; n < 14; n++ {
		for lost := range n + 1 {
			var r Report
			tb := r.Table("t", "", Nanoseconds)
			tb.Column("c")
			for i := range n {
				tb.Row("a", "").Add("c", i, 100+float64(i))
				y := 2.0
				if i < lost {
					y = -1
				}
				tb.Row("b", "").Add("c", i, y)
			}
			tb.Ratio("a / b", "a", "b")
			r.Finish()
			if err := r.JSON(io.Discard); err != nil {
				t.Errorf("%d of %d rounds lost: %v", lost, n, err)
			}
			if len(tb.Ratios) == 0 && lost == n {
				continue // nothing is left of it
			}
			harm := n < 2 || n < robust && lost > 0 || float64(n-1-lost) < 0.75*float64(n-1)
			if c := tb.Ratios[0].Cells["c"]; c.Refused != harm {
				t.Errorf("%d of %d rounds lost: %+v", lost, n, c)
			}
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		v    float64
		u    Unit
		want string
	}{
		{0.04, Nanoseconds, "0.0 ns"}, {2.24, Nanoseconds, "2.2 ns"}, {9.96, Nanoseconds, "10 ns"}, {-3, Nanoseconds, "-3.0 ns"},
		{999.4, Nanoseconds, "999 ns"}, {999.9, Nanoseconds, "1.0 µs"}, {48400, Nanoseconds, "48 µs"}, {3.2e9, Nanoseconds, "3.2 s"},
		{5e12, Nanoseconds, "5000 s"}, {64, Bytes, "64 B"}, {1.5e6, Bytes, "1.5 MB"}, {12345678, Number, "12,345,678"}, {645, Times, "645x"},
	} {
		if got := Format(c.v, c.u); got != c.want {
			t.Errorf("%v %q: %q, want %q", c.v, c.u, got, c.want)
		}
	}
}
