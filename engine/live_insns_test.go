package engine

import (
	"fmt"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// TestInstructions counts in single steps how many instructions a call takes of a
// function that is probed, more than of one that is not: what a hit costs where time
// is the emulator's.
func TestInstructions(t *testing.T) {
	needsJumping(t)
	alone := callSteps(t, nil)
	cases := []struct {
		what  string
		specs []ProbeSpec
		of    *HandlerSpec
	}{
		{"count", []ProbeSpec{{}}, nil},
		{"hist of an argument", []ProbeSpec{{}}, &HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}}}},
		{"latency, start and exit", []ProbeSpec{{}}, &HandlerSpec{Name: "latency"}},
		{"record of an argument", []ProbeSpec{{}}, &HandlerSpec{Name: "record", Params: builtin.Params{Exprs: []string{"arg0"}}}},
		{"count, start and exit", []ProbeSpec{{}, {Location: "work%return"}}, nil},
		{"hist with a filter that is false", []ProbeSpec{{}}, &HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{"arg0"}, Guards: builtin.Guards{Filter: "arg0 == -1"}}}},
		{"distinct arguments", []ProbeSpec{{}}, &HandlerSpec{Name: "distinct", Params: builtin.Params{Exprs: []string{"arg0 & 15"}}}},
	}
	for _, c := range cases[:pace(len(cases), 4)] { // a step takes the emulator 10 ms
		n := callSteps(t, func(s Session) {
			for _, spec := range c.specs {
				if spec.Location == "" {
					spec.Location = "work"
				}
				if c.of != nil {
					spec.Handler = openHandler(t, s, *c.of)
				}
				for _, pl := range s.Placements(register(t, s, spec)) {
					if !isJump(pl.Rung) {
						t.Errorf("%s: %+v", c.what, pl)
					}
				}
			}
		})
		if t.Logf("%-34s %4d instructions", c.what, n-alone); n <= alone {
			t.Errorf("%s: %d instructions a call, alone %d", c.what, n, alone)
		}
	}
}

// callSteps is how many steps there are from one call of work to the next, at least.
func callSteps(t *testing.T, plant func(Session)) (n int) {
	t.Helper()
	warm, calls := pace(20, 2), pace(10, 1) // first calls find what is their thread's
	p := launch(t, "loop", "1000000000")
	s := attach(t, p.pid)
	m := mainModule(t, s)
	fns, err := m.File.Lookup("work")
	if err != nil || len(fns) != 1 {
		t.Fatal(fns, err)
	}
	work := m.Runtime(fns[0].Addr)
	if plant != nil {
		plant(s)
	}
	p.goOn()
	se := s.(*session)
	err = se.loop.Do(func() error {
		for _, task := range se.loop.Procs[p.pid].Tasks {
			if err := se.loop.Halt(task); err != nil {
				return err
			}
			for range warm {
				if _, err := se.stepsTo(task, work); err != nil {
					return err
				}
			}
			for range calls {
				steps, err := se.stepsTo(task, work)
				if err != nil {
					return err
				}
				if n == 0 || steps < n { // now and then one is another page's, or told another time
					n = steps
				}
			}
			return se.loop.Unhalt(task)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stepsTo steps a task until it comes to an address.
func (s *session) stepsTo(t *inferior.Task, to arch.Addr) (n int, err error) {
	for n = 1; n < 10000; n++ {
		if err := ptrace.Step(t.TID, 0); err != nil {
			return n, err
		}
		if _, err := s.loop.Next(t); err != nil {
			return n, err
		}
		if pc, err := t.PC(); err != nil || pc == to {
			return n, err
		}
	}
	return n, fmt.Errorf("task %d never comes to %v", t.TID, to)
}
