package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// ErrHandler is wrapped by errors about a probe and its handler that do not go
// together.
var ErrHandler = errors.New("handler can't be put there")

// checkHandler refuses a handler that can't run where the probe is.
func (s *session) checkHandler(p *probe.Probe) error {
	if p.Spec.Handler == nil {
		return nil
	}
	h, own := p.Spec.Handler.(*inproc.Handler)
	if !own || h.Of != s.inproc {
		return fmt.Errorf("%s: %w: %s: it is another session's", p.Spec.Location, ErrHandler, p.Spec.Handler.Info().Name)
	}
	p.Handler = h
	refuse := func(why string) error {
		return fmt.Errorf("%s: %w: %s: %s", p.Spec.Location, ErrHandler, h.In.Name, why)
	}
	switch {
	case p.Spec.Action != Count:
		return refuse("the probe has another action")
	case h.In.Exit != nil && (p.Loc.HasAddress || p.Loc.Offset != 0 || p.Loc.Every):
		return refuse("it runs where a function returns; name a function")
	case h.In.Entry != nil && p.Loc.Return:
		return refuse("it runs where a function is entered; leave %return away")
	}
	return nil
}

// RunHandler implements Session.
func (s *session) RunHandler(spec HandlerSpec, tid int, args ...uint64) (run Run, err error) {
	spec.Where = handler.Engine
	o, err := s.OpenHandler(spec)
	if err != nil {
		return run, err
	}
	h := o.(*inproc.Handler)
	err = s.loop.Do(func() error {
		t, err := s.loop.Stopped(tid)
		if err != nil {
			return err
		}
		v := h.Variant
		if len(args) == 0 { // those that the task has
			if v, err = s.hit.VariantAt(h, t); err != nil {
				return err
			}
		}
		run.Return, err = s.hit.RunOnce(v, t, func(text string) { run.Output = append(run.Output, text) }, args)
		return err
	})
	if err2 := h.Close(); err == nil {
		err = err2
	}
	run.Result, _ = h.Result()
	return run, err
}
