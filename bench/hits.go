package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/bench/report"
)

// quickSites are the sites of a quick run: one that the kernel handles best, one that it emulates,
// and one that it steps.
var quickSites = []string{"nop5", "push", "sub"}

// threadSite is the site of the table of threads.
const threadSite = "push"

// sites returns the sites to measure, in their order.
func (r *run) sites() (list []target.Site) {
	want := r.Sites
	if want == nil && r.Quick {
		want = quickSites
	}
	for _, s := range r.hits.Sites {
		if want == nil || slices.Contains(want, s.Class) {
			list = append(list, s)
		}
	}
	return list
}

// addHits adds the table of all ways at all sites.
func (r *run) addHits() error {
	for _, class := range r.Sites {
		if _, ok := r.hits.Site(class); !ok && !slices.ContainsFunc(r.hits.Missing, func(m target.Missing) bool { return m.Class == class }) {
			return fmt.Errorf("bench: no site %q: there are %s", class, strings.Join(classes(r.hits.Sites), ", "))
		}
	}
	t := r.report.Table(TableHit, "A hit, by the instruction that the probe lies on; one thread", report.Nanoseconds, r.siteNotes()...)
	ways := r.ways()
	for _, w := range ways {
		t.Row(w.name, w.group)
	}
	for _, s := range r.sites() {
		t.Column(s.Class)
		for _, w := range ways {
			if w.sites == nil || slices.Contains(w.sites, s.Class) {
				r.addHit(t, w, s, s.Class, 1)
			}
		}
	}
	ratios(t)
	return nil
}

func classes(sites []target.Site) (list []string) {
	for _, s := range sites {
		list = append(list, s.Class)
	}
	return list
}

// siteNotes explain the columns.
func (r *run) siteNotes() []string {
	var list []string
	for _, s := range r.sites() {
		list = append(list, fmt.Sprintf("%s: %s", s.Class, s.Insn))
	}
	notes := []string{"Less what the call costs, but for the bare call itself. " + strings.Join(list, "; ") + "."}
	for _, m := range r.hits.Missing {
		notes = append(notes, fmt.Sprintf("Not measured: %s: %s.", m.Class, m.Why))
	}
	return notes
}

// addHit adds the measurement of a way at a site.
func (r *run) addHit(t *report.Table, w *way, s target.Site, column string, threads int) {
	row := t.Row(w.name, w.group)
	r.plan.jobs = append(r.plan.jobs, &job{
		what: fmt.Sprintf("%s, %s", column, w.name), guess: 3*r.each + 20*time.Millisecond, most: w.most,
		run: func(_ context.Context, round int) error {
			ns, err := r.hit(w, s, threads)
			if err == nil {
				row.Add(column, round, ns)
			}
			return err
		},
		fail: func(why string) { row.Fail(column, why) },
	})
}

// ratios adds the most interesting ratios of the table.
func ratios(t *report.Table) {
	for _, k := range []string{rowUprobe, rowEBPF, rowMulti, rowTracefs} {
		t.Ratio(k+" / "+rowCount, k, rowCount)
	}
	t.Ratio(rowCount+" / by hand", rowCount, rowLimit)
	t.Ratio(rowTextbook+" / "+rowStop, rowTextbook, rowStop)
	t.Ratio(rowStop+" / "+rowLeast, rowStop, rowLeast)
	t.Ratio(rowStop+" / "+rowEBPF, rowStop, rowEBPF)
}

// addThreads adds the table of ways by number of threads, at one site.
func (r *run) addThreads() error {
	s, ok := r.hits.Site(threadSite)
	if !ok || r.Sites != nil && !slices.Contains(r.Sites, threadSite) {
		return nil
	}
	counts := threadCounts(r.Threads, r.report.Machine.CPUs)
	if r.Quick {
		counts = counts[max(len(counts)-1, 0):]
	}
	t := r.report.Table(TableThreads, fmt.Sprintf("A hit at %s by threads that hit at the same time", s.Class), report.Nanoseconds,
		"Of a hit of any thread: with as many CPUs as threads, what one thread pays is as many times as much. Less what the calls cost.")
	for _, n := range counts {
		column := fmt.Sprintf("%d threads", n)
		t.Column(column)
		for _, w := range r.ways() {
			if w.group != peers {
				r.addHit(t, w, s, column, n)
			}
		}
	}
	ratios(t)
	return nil
}

// threadCounts returns the numbers of threads above one: powers of two up to most, and most. If
// most is 0, it is the number of CPUs, and at least two.
func threadCounts(most, cpus int) (list []int) {
	if most == 0 {
		most = max(cpus, 2)
	}
	for n := 2; n < most; n *= 2 {
		list = append(list, n)
	}
	if most > 1 {
		list = append(list, most)
	}
	return list
}

// Chart says how to draw a report's costs of a hit: at an instruction that the kernel emulates and
// at one that it steps, as far as they were measured.
func Chart(r *report.Report) report.Chart {
	c := report.Chart{Table: TableHit, Title: "What a probe's hit costs"}
	t := r.Find(TableHit)
	if t == nil {
		return c
	}
	for _, site := range []struct{ class, legend string }{{"push", "on push, which the kernel emulates"}, {"sub", "on sub, which it steps"}} {
		if slices.Contains(t.Columns, site.class) {
			c.Columns, c.Legend = append(c.Columns, site.class), append(c.Legend, site.legend)
		}
	}
	if len(c.Columns) == 0 && len(t.Columns) > 0 {
		c.Columns, c.Legend = t.Columns[:1], []string{"on " + t.Columns[0]}
	}
	return c
}
