package bench

import (
	"context"
	"time"

	"github.com/ptracer/ptracer/bench/report"
)

// figures is a measurement that fills several rows of a column together.
type figures struct {
	table  *report.Table
	column string
	group  string
	rows   []string
	units  map[string]report.Unit // of rows with another unit than the table's
	what   string
	guess  time.Duration
	most   int
	// measure returns a figure for each of the rows, or an error for all.
	measure func(ctx context.Context) ([]float64, error)
}

// add makes a job of the measurement.
func (r *run) add(f figures) {
	f.table.Column(f.column)
	var rows []*report.Row
	for _, name := range f.rows {
		row := f.table.Row(name, f.group)
		row.Unit = f.units[name]
		rows = append(rows, row)
	}
	r.plan.jobs = append(r.plan.jobs, &job{
		what: f.column + ", " + f.what, guess: f.guess, most: f.most,
		run: func(ctx context.Context, round int) error {
			values, err := f.measure(ctx)
			for i, v := range values {
				rows[i].Add(f.column, round, v)
			}
			return err
		},
		fail: func(why string) {
			for _, row := range rows {
				row.Fail(f.column, why)
			}
		},
	})
}
