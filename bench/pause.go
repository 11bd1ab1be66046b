package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/bench/report"
	"github.com/ptracer/ptracer/engine"
)

// calm is how long nothing happens before and after an operation that may pause a program.
const calm = 30 * time.Millisecond

// visitor attaches to a program with many threads, and detaches again.
type visitor struct {
	name, group string
	visit       func(p *target.Process) (leave func() error, err error)
	most        int
	once        bool // it detaches by itself: both are one operation
}

// ourVisit attaches, and plants one probe.
func ourVisit(p *target.Process) (leave func() error, err error) {
	s, err := engine.Attach(context.Background(), p.PID)
	if err != nil {
		return nil, err
	}
	if _, err := s.Register(engine.ProbeSpec{Location: "hit_push"}); err != nil {
		return nil, errors.Join(err, s.Detach())
	}
	return s.Detach, nil
}

// addPauses adds the table of how long a program pauses when a tracer attaches and detaches, by
// number of threads.
func (r *run) addPauses() error {
	sizes := []int{2, 10, 100, 1000}
	if r.Quick {
		sizes = []int{10, 100}
	}
	t := r.report.Table(TablePause, "A tracer comes and goes", report.Nanoseconds,
		"All threads but one sleep; that one looks at the clock all the time, and the pause is the longest time between two looks. "+
			"The rows of no tracer are what it sees without one.")
	visitors := []visitor{
		{name: "no tracer", group: reference, visit: func(*target.Process) (func() error, error) {
			return func() error { return nil }, nil
		}},
		{name: "ptracer", group: ours, visit: ourVisit},
	}
	if r.Peers {
		visitors = append(visitors, peerVisitors()...)
	}
	for _, n := range sizes {
		for _, v := range visitors {
			rows := []string{v.name + ": attach takes", v.name + ": pause meanwhile", v.name + ": detach takes", v.name + ": pause then"}
			switch {
			case v.group == reference:
				rows = []string{v.name + ": pause"}
			case v.once:
				rows = []string{v.name + ": attach and detach take", v.name + ": pause meanwhile"}
			}
			r.add(figures{table: t, column: fmt.Sprintf("%s threads", thousands(n)), group: v.group, rows: rows, what: v.name, most: v.most,
				guess:   4*calm + time.Duration(n)*200*time.Microsecond,
				measure: func(context.Context) ([]float64, error) { return r.pause(v, n) }})
		}
	}
	return nil
}

// pause measures one visit: how long attaching and detaching take, and the pauses.
func (r *run) pause(v visitor, threads int) (ns []float64, err error) {
	p, err := r.hits.Start(target.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.Spin(); err != nil {
		return nil, err
	}
	time.Sleep(calm)
	p.Gap()
	begin := time.Now()
	leave, err := v.visit(p)
	came := time.Since(begin)
	if err != nil {
		return nil, err
	}
	time.Sleep(calm)
	first := p.Gap()
	begin = time.Now()
	err = leave()
	went := time.Since(begin)
	time.Sleep(calm)
	second := p.Gap()
	if err := errors.Join(err, p.Still()); err != nil {
		return nil, err
	}
	switch {
	case v.group == reference:
		return []float64{float64(max(first, second))}, nil
	case v.once:
		return []float64{float64(came), float64(first)}, nil
	}
	return []float64{float64(came), float64(first), float64(went), float64(second)}, nil
}

// thousands writes a number with a comma.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
