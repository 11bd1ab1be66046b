package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ptracer/ptracer/bench/report"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler"
)

// rowAlone is the row of the command without a tracer.
const rowAlone = "alone"

// Limits for a way to count all functions of a command: a multiple of the time of the command
// alone, plus a constant; then the way is ended.
const (
	slowest  = 30
	slowMore = 10 * time.Second
)

// counting is a way to count all functions of a command.
type counting struct {
	name, group string
	rung        breakpoint.Rung
	kernel      bool
}

// addCommand adds the table of a real program with all its functions counted.
func (r *run) addCommand() error {
	if len(r.Command) == 0 {
		return nil
	}
	path, err := exec.LookPath(r.Command[0])
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	c := &command{path: path, args: r.Command[1:], functions: r.Functions}
	t := r.report.Table(TableCommand, "A program with all functions counted: "+strings.Join(r.Command, " "), report.Nanoseconds,
		fmt.Sprintf("Functions: %s, of this process, not of its children. Its output goes nowhere. What it takes includes to start it, to plant the probes and to take them away.", r.Functions))
	column := filepath.Base(path)
	r.add(figures{table: t, column: column, group: reference, rows: []string{rowAlone}, what: rowAlone, guess: time.Second,
		measure: func(ctx context.Context) ([]float64, error) { return c.alone(ctx) }})
	for _, w := range []counting{
		{"ptracer count", ours, breakpoint.Auto, false},
		{"ptracer count, stops only", ours, breakpoint.Slot, false},
		{"uprobe multi + eBPF", kernels, breakpoint.Auto, true},
	} {
		rows := []string{w.name, w.name + ": hits", w.name + ": functions"}
		r.add(figures{table: t, column: column, group: w.group, rows: rows, what: w.name, guess: 3 * time.Second,
			units:   map[string]report.Unit{rows[1]: report.Number, rows[2]: report.Number},
			measure: func(ctx context.Context) ([]float64, error) { return c.counted(ctx, w) }})
		t.Ratio(w.name+" / "+rowAlone, w.name, rowAlone)
	}
	return nil
}

// command is a program that is run several times.
type command struct {
	path      string
	args      []string
	functions string
	took      time.Duration // alone, the first time
	status    int           // alone
}

// alone runs the command without a tracer.
func (c *command) alone(ctx context.Context) ([]float64, error) {
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	if !cmd.ProcessState.Exited() {
		return nil, fmt.Errorf("it was ended by a signal: %v", cmd.ProcessState)
	}
	if c.took == 0 {
		c.took, c.status = took, cmd.ProcessState.ExitCode()
	}
	return []float64{float64(took)}, nil
}

// counted runs the command with all its functions counted, and returns the time, the hits and the
// number of functions.
func (c *command) counted(ctx context.Context, w counting) (v []float64, err error) {
	if c.took == 0 {
		return nil, errors.New("it does not run alone")
	}
	begin := time.Now()
	s, err := engine.Start(context.Background(), engine.Command{Path: c.path, Args: c.args})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Kill()) }()
	pid := s.Processes()[0]
	spec := engine.ProbeSpec{Location: c.functions, Rung: w.rung, Pending: true}
	if w.kernel {
		h, err := s.OpenHandler(engine.HandlerSpec{Name: "count", Where: handler.Kernel})
		if err != nil {
			return nil, err
		}
		defer h.Close()
		spec.Handler = h
	}
	id, err := s.Register(spec)
	if err != nil {
		return nil, err
	}
	if err := s.Resume(pid); err != nil {
		return nil, err
	}
	limit := slowest*c.took + slowMore
	select {
	case <-s.Done():
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(limit):
		return nil, fmt.Errorf("not over after %v: it was ended", limit.Round(time.Second))
	}
	hits := s.Hits(id)
	if spec.Handler != nil {
		hits = noted(spec.Handler)
	}
	took := time.Since(begin)
	if e, _ := s.Exit(pid); e.Code() != c.status {
		return nil, fmt.Errorf("it ends otherwise than alone: with status %d instead of %d", e.Code(), c.status)
	}
	return []float64{float64(took), float64(hits), float64(planted(s))}, nil
}

// planted is how many places have a probe.
func planted(s engine.Session) (n int) {
	for _, p := range s.Placements(0) {
		if p.Err == nil {
			n++
		}
	}
	return n
}
