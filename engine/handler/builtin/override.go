package builtin

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/printable"
)

// ReturnValue selects the value that a function returns, instead of an argument.
const ReturnValue = -1

// Override changes argument arg of a function at its entry, or with ReturnValue its result at its
// exit, to an expression's value. It stores to the context, which the kernel allows uprobe programs
// since Linux 6.19; older kernels refuse to load it. It requires the right program.Override. If the
// expression can't be read, nothing changes. Map "hits", per-CPU array: the number of changes; map
// "misses".
func Override(ctx program.Context, arg int, e *filter.Expr) (*build.Handler, error) {
	at := build.Entry
	if arg == ReturnValue {
		at = build.Exit
	}
	if err := checkPoint(at, e); err != nil {
		return nil, err
	}
	b := build.New("override", ctx)
	hits := b.Map(program.Map{Name: "hits", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	miss, fault := newMisses(b), b.NewLabel()
	e.Emit(b, build.R0, fault)
	if at == build.Exit {
		b.SetRet(build.R0)
	} else {
		b.SetArg(arg, build.R0)
	}
	b.Index(hits, 0)
	b.Inc(build.At(build.R0, 0))
	b.Stop()
	if e.Reads() {
		miss.count(b, fault, missFault)
	}
	return finish(b, at, func(s build.Source) (build.Result, error) {
		return Changes{ReadCount(s).Hits, readMisses(s)}, nil
	})
}

// Changes is the result of override.
type Changes struct {
	Changed uint64 `json:"changed"`
	Misses
}

// Text writes the number of changes.
func (c Changes) Text(w io.Writer, _ int) error {
	lines := []string{fmt.Sprintf("%d values changed", c.Changed)}
	if s := c.Misses.Missing(); s != "" {
		lines = append(lines, s)
	}
	return printable.Write(w, lines...)
}

// MarshalJSON writes the fields under their lower-case names.
func (c Changes) MarshalJSON() ([]byte, error) {
	type plain Changes
	return json.Marshal(plain(c))
}
