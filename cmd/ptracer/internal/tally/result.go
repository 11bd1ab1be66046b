package tally

import (
	"encoding/json"
	"io"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// ResultLine is what a location's handler has found out, in JSON: hits of one that only
// counts, else a result.
type ResultLine struct {
	Probe   string          `json:"probe"`
	Hits    *uint64         `json:"hits,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Seconds float64         `json:"seconds,omitempty"`
	// Uncounted is hits of all places together that are in no result.
	Uncounted uint64 `json:"uncounted,omitempty"`
	// Unread is hits that the condition could not be told of.
	Unread uint64 `json:"unread,omitempty"`
}

// WriteResult writes what a location's handler found out as one object a line.
func WriteResult(w io.Writer, l ResultLine, r build.Result) (err error) {
	if c, counts := r.(builtin.Counter); counts {
		l.Hits = &c.Hits
	} else if l.Result, err = json.Marshal(r); err != nil {
		return err
	}
	return show.WriteJSON(w, []ResultLine{l})
}

// Uncounted tells of hits that are nowhere.
const Uncounted = "%d hits are in no count: of threads that share their thread pointer, or were more than can be told apart"
