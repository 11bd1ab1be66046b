package engine

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
)

// The window of probes: the time over which they count. Probes are planted one after
// the other, which takes seconds where there are many; so that their numbers can be
// compared, Begin and Finish cut all of them at one moment each, in a pause of all tasks
// that come to them. In that pause no task stands in code of ptracer's (whileHalted):
// a handler has run for a hit, or has not. One place that only counts needs no pause
// (onlyCounter).

// Begin implements Session.
func (s *session) Begin(ids ...event.ProbeID) (at int64, err error) {
	err = s.loop.Do(func() error {
		list, err := s.probesOf(ids)
		if err != nil {
			return err
		}
		begin := func(breakpoint.Pause) error {
			at = now()
			return plant.ForgetHits(list, at)
		}
		if plant.OnlyCounter(list) != nil {
			return begin(breakpoint.Pause{})
		}
		return s.loop.WhileHalted(begin, s.plant.SpacesOf(list)...)
	})
	return at, err
}

// Finish implements Session.
func (s *session) Finish(ids ...event.ProbeID) (at int64, err error) {
	var links []*kernel.Link
	err = s.loop.Do(func() error {
		list, err := s.probesOf(ids)
		if err != nil {
			return err
		}
		at, err = s.plant.Retire(slices.DeleteFunc(list, func(p *probe.Probe) bool { return p.Gone && len(p.Sites()) == 0 }))
		links = s.uprobe.Take()
		return err
	})
	return at, errors.Join(err, uprobe.Close(links))
}

// probesOf finds probes by their numbers.
func (s *session) probesOf(ids []event.ProbeID) (list []*probe.Probe, err error) {
	for _, id := range ids {
		p, err := s.probe(id)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}
