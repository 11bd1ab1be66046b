package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/bench/report"
	"github.com/ptracer/ptracer/symbols"
)

// lookupRows are the measurements of a file.
var lookupRows = []string{"open, and one name", "another name", "all functions"}

// addLookups adds the table of symbol lookups, by the size of the file.
func (r *run) addLookups() error {
	t := r.report.Table(TableLookup, "Looking up symbols, by the size of the file", report.Nanoseconds,
		"In a file that has not been looked at yet; the kernel has it in memory.")
	sizes := []int{100, manyFunctions, 200_000}
	if r.Quick {
		sizes = sizes[:2]
	}
	for _, n := range sizes {
		prog, err := r.install(target.Kind{Many: n})
		if err != nil {
			return err
		}
		column := fmt.Sprintf("%s functions, %s", thousands(n), report.Format(float64(len(prog.File)), report.Bytes))
		r.addLookup(t, column, prog.Path, prog.Symbols[len(prog.Symbols)/2].Name, prog.Symbols[len(prog.Symbols)/3].Name)
	}
	if err := r.addFile(t, "this program", "/proc/self/exe"); err != nil {
		return err
	}
	if len(r.Command) > 0 {
		path, err := exec.LookPath(r.Command[0])
		if err != nil {
			return nil // the command's own table reports that
		}
		_ = r.addFile(t, filepath.Base(path), path) // a script has no symbols
	}
	return nil
}

// addFile adds an existing file, with two names that it has.
func (r *run) addFile(t *report.Table, title, path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := symbols.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fns, err := f.Functions()
	if err != nil || len(fns) == 0 {
		return err
	}
	r.addLookup(t, fmt.Sprintf("%s, %s", title, report.Format(float64(st.Size()), report.Bytes)), path, fns[len(fns)/2].Name, fns[len(fns)/3].Name)
	return nil
}

func (r *run) addLookup(t *report.Table, column, path, one, other string) {
	r.add(figures{table: t, column: column, group: ours, rows: lookupRows, what: "symbols", guess: 200 * time.Millisecond, most: 7,
		measure: func(context.Context) ([]float64, error) { return lookup(path, one, other) }})
}

// lookup measures the first name, one more, and all functions.
func lookup(path, one, other string) (ns []float64, err error) {
	begin := time.Now()
	lap := func() {
		now := time.Now()
		ns = append(ns, float64(now.Sub(begin)))
		begin = now
	}
	f, err := symbols.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, name := range []string{one, other} {
		fns, err := f.Lookup(name)
		if err != nil {
			return nil, err
		}
		if len(fns) == 0 {
			return nil, fmt.Errorf("%s in %s: %w", name, path, symbols.ErrNotFound)
		}
		lap()
	}
	if _, err := f.Functions(); err != nil {
		return nil, err
	}
	lap()
	return ns, nil
}
