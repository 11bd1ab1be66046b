package builtin

import (
	"encoding/json"
	"io"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/printable"
)

// Counter is the result of count.
type Counter struct {
	Hits uint64 `json:"hits"`
}

// Count counts hits. Map "hits", per-CPU array of 1: the count, 8 bytes. Cost: a lookup in an array
// and an addition to a word of the CPU's own.
func Count(ctx program.Context, at build.Point) (*build.Handler, error) {
	b := build.New("count", ctx)
	hits := b.Map(program.Map{Name: "hits", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	b.Index(hits, 0)
	b.Inc(build.At(build.R0, 0))
	return finish(b, at, func(s build.Source) (build.Result, error) { return ReadCount(s), nil })
}

// ReadCount reads count's map.
func ReadCount(s build.Source) Counter {
	var c Counter
	for _, values := range s.Entries("hits") {
		c.Hits += total(values, 0)
	}
	return c
}

// Text writes the number of hits.
func (c Counter) Text(w io.Writer, _ int) error {
	return printable.Printf(w, "%d hits", c.Hits)
}

// MarshalJSON writes {"hits": n}.
func (c Counter) MarshalJSON() ([]byte, error) {
	type plain Counter
	return json.Marshal(plain(c))
}
