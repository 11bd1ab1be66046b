package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ptracer/ptracer/bench/internal/contender"
	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/bench/report"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// tiny is a run in which a measurement takes no longer than it must.
func tiny(t *testing.T, o Options) *run {
	t.Helper()
	r, err := newRun(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	r.each = time.Millisecond
	return r
}

// someSites are those at which all are tried: a start, a place behind which there
// is no room, one in a loop.
var someSites = []string{"push", "ret", "loop"}

// TestExact has each way count a few hits at each site, exactly: what has no
// figure has a reason that is known.
func TestExact(t *testing.T) {
	r := tiny(t, Options{})
	for _, w := range r.ways() {
		t.Run(w.name, func(t *testing.T) {
			for _, s := range r.hits.Sites {
				some := w.group == kernels || runtime.GOARCH == "arm64" // slow to go, or in an emulated machine
				if some && !slices.Contains(someSites, s.Class) {
					continue
				}
				r.try(t, w, s, 1)
			}
			if s, _ := r.hits.Site(threadSite); w.group != kernels {
				r.try(t, w, s, 2)
			}
		})
	}
}

func (r *run) try(t *testing.T, w *way, s target.Site, threads int) {
	t.Helper()
	_, err := r.hit(w, s, threads)
	switch {
	case err == nil, errors.Is(err, errNoCall):
	case errors.Is(err, contender.ErrMissing):
		skip.Missing(t, reason(err))
	case strings.Contains(err.Error(), "from functions' starts only"):
	case excused("", err.Error()):
	default:
		t.Errorf("%s, %d threads: %v", s.Class, threads, err)
	}
}

// few is a probe that sees few of its hits.
type few struct{ none }

func (few) Hits() (uint64, error) { return 5, nil }

// TestLost: a way that has lost hits has no figure, unless that is its nature.
func TestLost(t *testing.T) {
	r := tiny(t, Options{})
	s, _ := r.hits.Site(threadSite)
	open := func(*target.Process, target.Site) (contender.Probe, error) { return few{}, nil }
	for name, c := range map[string]struct {
		way     way
		threads int
		lost    bool
	}{
		"counts": {way{probe: open}, 1, true}, "counts, two threads": {way{probe: open}, 2, true},
		"loses": {way{probe: open, loses: true}, 1, true}, "loses, two threads": {way{probe: open, loses: true}, 2, false},
		"slips": {way{probe: open, slips: true}, 1, true}, "slips, two threads": {way{probe: open, slips: true}, 2, false},
		"counts nothing": {way{probe: open, uncounted: true}, 1, false},
	} {
		if _, err := r.hit(&c.way, s, c.threads); errors.Is(err, errLost) != c.lost || err != nil && !c.lost {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTables makes one round of all tables, as small as they get.
func TestTables(t *testing.T) {
	o := Options{Quick: true, Rounds: 1, Time: time.Minute, Sites: []string{"push"}, Ways: []string{rowBare, rowCount, rowLimit},
		Command: []string{fixture.Path(t, "loop"), "3"}, Functions: "loop:*"}
	var told []Progress
	o.Progress = func(p Progress) { told = append(told, p) }
	small := tiny(t, o)
	small.probes = []int{1, 100}
	r, err := small.measure(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tables) != len(Tables) || r.Ended != "" || r.Rounds != 1 {
		t.Errorf("%d tables, %d rounds, %q", len(r.Tables), r.Rounds, r.Ended)
	}
	for _, tb := range r.Tables {
		for _, row := range tb.Rows {
			for _, column := range tb.Columns {
				c := row.Cells[column]
				if c == nil && row.Why == "" {
					continue // it is not for this one
				}
				why := row.Why
				if c != nil {
					why += c.Why
				}
				if !c.Measured() && !excused(row.Group, why) {
					t.Errorf("%s, %s, %s: no figure: %s", tb.ID, row.Name, column, why)
				}
			}
		}
	}
	if n := len(told); n == 0 || told[n-1].Total != n || told[0].Left <= 0 {
		t.Errorf("%d measurements were told: %+v", n, told)
	}
	var b bytes.Buffer
	if err := r.SVG(&b, Chart(r)); err != nil {
		t.Error(err)
	}
	bare := r.Find(TableHit).Row(rowBare, "").Cells["push"]
	if bare.Median <= 0 || bare.Median > 1e4 {
		t.Errorf("a call takes %v ns", bare.Median)
	}
}

// excused reports whether a way may lack a figure: the kernel's for want of rights or of
// a newer kernel, jumps on an arm64 CPU without LSE.
func excused(group, why string) bool {
	return group == kernels || strings.Contains(why, "no atomic instructions (LSE)")
}

// TestRefused: what can't be measured is said before anything is.
func TestRefused(t *testing.T) {
	for _, o := range []Options{
		{Tables: []string{"hits"}}, {Ways: []string{"["}}, {Sites: []string{"mov"}}, {Time: -1}, {Threads: 5000},
		{Tables: []string{TableHit}, Ways: []string{"no such way"}}, {Tables: []string{TableCommand}},
		{Tables: []string{TableCommand}, Command: []string{"no-such-command-anywhere"}},
	} {
		if _, err := Run(context.Background(), o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// TestNobody: a user without rights gets reasons in place of the kernel's figures, and ptracer's
// own figures.
func TestNobody(t *testing.T) {
	if os.Getuid() != 0 {
		skip.Missing(t, "the right to become nobody")
	}
	exe, err := os.Open("/proc/self/exe") // the user may not enter the folder that go test builds in
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = append(os.Environ(), nobodyEnv+"=1", "TMPDIR=/tmp")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		name, rest := line, ""
		for _, n := range []string{rowCount, rowUprobe, rowEBPF, rowReturn, rowTracefs} {
			if strings.HasPrefix(line, n+"  ") {
				name, rest = n, strings.TrimSpace(line[len(n):])
			}
		}
		switch {
		case rest == "":
		case name == rowCount && runtime.GOARCH == "amd64" && !strings.Contains(rest, "ns"):
			t.Errorf("%s: %q", name, rest)
		case name != rowCount && !strings.Contains(rest, "right") && !strings.Contains(rest, "root"):
			t.Errorf("%s: %q", name, rest)
		}
	}
	if !strings.Contains(string(out), "user 65534") {
		t.Errorf("%s", out)
	}
}

func TestGlob(t *testing.T) {
	for n, want := range map[int]string{1: "many_0000", 10: "many_000?", 100: "many_00??", 1000: "many_0???", 10000: "many_????"} {
		if got := glob(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestThreadCounts(t *testing.T) {
	for _, c := range []struct {
		most, cpus int
		want       []int
	}{{0, 1, []int{2}}, {0, 2, []int{2}}, {0, 6, []int{2, 4, 6}}, {1, 8, nil}, {8, 2, []int{2, 4, 8}}} {
		if got := threadCounts(c.most, c.cpus); !slices.Equal(got, c.want) {
			t.Errorf("%d of %d CPUs: %v", c.most, c.cpus, got)
		}
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("a\n b"), "a b"},
		{errors.Join(contender.ErrMissing), "not there"},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, "no right: open x: permission denied"},
	} {
		if got := reason(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestChart: without the usual sites what there is is drawn.
func TestChart(t *testing.T) {
	var r report.Report
	if c := Chart(&r); len(c.Columns) != 0 {
		t.Errorf("%+v", c)
	}
	r.Table(TableHit, "", report.Nanoseconds).Columns = []string{"ret", "loop"}
	if c := Chart(&r); !slices.Equal(c.Columns, []string{"ret"}) {
		t.Errorf("%+v", c)
	}
	r.Find(TableHit).Columns = []string{"nop", "push", "sub"}
	if c := Chart(&r); !slices.Equal(c.Columns, []string{"push", "sub"}) {
		t.Errorf("%+v", c)
	}
}
