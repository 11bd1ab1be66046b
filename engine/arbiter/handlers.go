package arbiter

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// openHandler is a handler that a tracer has opened.
type openHandler struct {
	engine.Handler
	t    *Tracer
	shut atomic.Bool // by the tracer's end
}

// OpenHandler implements engine.Session.
func (t *Tracer) OpenHandler(spec engine.HandlerSpec) (engine.Handler, error) {
	if spec.Share != nil {
		of, ok := spec.Share.(*openHandler)
		if !ok || of.t != t {
			return nil, fmt.Errorf("%w: its maps are to be another tracer's", engine.ErrHandler)
		}
		spec.Share = of.Handler
	}
	if err := t.a.spend(t.id.UID, Quota{Handlers: 1}); err != nil {
		return nil, err
	}
	h, err := t.g.s.OpenHandler(spec)
	if err != nil {
		_ = t.a.spend(t.id.UID, Quota{Handlers: -1})
		return nil, err
	}
	o := &openHandler{Handler: h, t: t}
	t.g.mu.Lock()
	ended := t.ended
	if !ended {
		t.handlers = append(t.handlers, o)
	}
	t.g.mu.Unlock()
	if ended {
		_ = t.a.spend(t.id.UID, Quota{Handlers: -1})
		return nil, errors.Join(engine.ErrEnded, h.Close())
	}
	return o, nil
}

// File implements engine.SharedHandler.
func (o *openHandler) File() (*os.File, error) {
	if sh, ok := o.Handler.(engine.SharedHandler); ok {
		return sh.File()
	}
	return nil, errors.ErrUnsupported
}

// Params implements engine.SharedHandler.
func (o *openHandler) Params() (p builtin.Params) {
	if sh, ok := o.Handler.(engine.SharedHandler); ok {
		p = sh.Params()
	}
	return p
}

// Take implements engine.SharedHandler.
func (o *openHandler) Take(pos uint64) (uint64, error) {
	if sh, ok := o.Handler.(engine.SharedHandler); ok {
		return sh.Take(pos)
	}
	return 0, errors.ErrUnsupported
}

// Close implements engine.Handler.
func (o *openHandler) Close() error {
	o.t.g.mu.Lock()
	n := len(o.t.handlers)
	o.t.handlers = slices.DeleteFunc(o.t.handlers, func(h *openHandler) bool { return h == o })
	gone := n - len(o.t.handlers)
	o.t.g.mu.Unlock()
	_ = o.t.a.spend(o.t.id.UID, Quota{Handlers: -gone})
	err := o.Handler.Close()
	if errors.Is(err, os.ErrClosed) && o.shut.Swap(false) {
		err = nil
	}
	return err
}

// end is Close at the tracer's end.
func (o *openHandler) end() error {
	o.shut.Store(true)
	if err := o.Handler.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// RunHandler implements engine.Session. A handler may change registers, which
// needs that no other tracer controls the process.
func (t *Tracer) RunHandler(spec engine.HandlerSpec, tid int, args ...uint64) (engine.Run, error) {
	pid, err := t.mayTask(tid)
	if err == nil {
		err = t.controls(pid)
	}
	if err != nil {
		return engine.Run{}, err
	}
	return t.g.s.RunHandler(spec, tid, args...)
}
