package arbiter

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/failure"
)

// openHandler is a handler that a tracer has opened, in one of its groups.
type openHandler struct {
	engine.Handler
	t    *Tracer
	g    *group
	size int64       // of its maps
	shut atomic.Bool // set when the tracer ends
}

// ownHandler returns h as a handler of t's, or an error if it is not one.
func ownHandler(t *Tracer, h engine.Handler) (*openHandler, error) {
	o, ok := h.(*openHandler)
	if !ok || o.t != t {
		return nil, fmt.Errorf("%w: it is another tracer's", engine.ErrHandler)
	}
	return o, nil
}

// at returns the handler for a session: the handler's maps must belong to that session.
func (o *openHandler) at(g *group) (engine.Handler, error) {
	if o.g != g {
		return nil, fmt.Errorf("%w: %w: give each a tracer of its own, with a handler of its own", engine.ErrHandler, ErrElsewhere)
	}
	return o.Handler, nil
}

// OpenHandler implements engine.Session.
func (t *Tracer) OpenHandler(spec engine.HandlerSpec) (engine.Handler, error) {
	return openHandlerIn(t, spec, func(s engine.Shared, spec engine.HandlerSpec) (engine.Handler, error) { return s.OpenHandler(spec) })
}

// OpenHandlerFor is a tracer's OpenHandler with the rights of a peer.
func OpenHandlerFor(t *Tracer, by handler.Peer, spec engine.HandlerSpec) (engine.Handler, error) {
	return openHandlerIn(t, spec, func(s engine.Shared, spec engine.HandlerSpec) (engine.Handler, error) {
		return s.OpenHandlerFor(by, spec)
	})
}

// openHandlerIn opens a handler in the session that takes new processes, or in that of the handler
// whose maps it uses.
func openHandlerIn(t *Tracer, spec engine.HandlerSpec, open func(engine.Shared, engine.HandlerSpec) (engine.Handler, error)) (engine.Handler, error) {
	g := t.home()
	if g == nil {
		return nil, engine.ErrEnded
	}
	if spec.Share != nil {
		of, err := ownHandler(t, spec.Share)
		if err != nil {
			return nil, err
		}
		g, spec.Share = of.g, of.Handler
	}
	if err := t.a.spend(t.id.UID, Quota{Handlers: 1}); err != nil {
		return nil, err
	}
	h, err := open(g.s, spec)
	if err != nil {
		_ = t.a.spend(t.id.UID, Quota{Handlers: -1})
		return nil, err
	}
	o := &openHandler{Handler: h, t: t, g: g}
	if spec.Share == nil {
		o.size = sizeOf(h)
	}
	err = t.a.spend(t.id.UID, Quota{Memory: o.size})
	if err == nil && !t.keeps(o) {
		err = engine.ErrEnded
		_ = t.a.spend(t.id.UID, Quota{Memory: -o.size})
	}
	if err != nil {
		_ = t.a.spend(t.id.UID, Quota{Handlers: -1})
		return nil, errors.Join(err, h.Close())
	}
	return o, nil
}

// sizeOf is how much memory a handler's maps take, in bytes.
func sizeOf(h engine.Handler) int64 {
	sh, ok := h.(engine.SharedHandler)
	if !ok {
		return 0
	}
	f, err := sh.File()
	if err != nil {
		return 0
	}
	fi, err := f.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

var errShared = failure.Unsupportedf("a handler of this kind is not shared")

// File implements engine.SharedHandler.
func (o *openHandler) File() (*os.File, error) {
	if sh, ok := o.Handler.(engine.SharedHandler); ok {
		return sh.File()
	}
	return nil, errShared
}

// Params implements engine.SharedHandler.
func (o *openHandler) Params() (p builtin.Params) {
	if sh, ok := o.Handler.(engine.SharedHandler); ok {
		p = sh.Params()
	}
	return p
}

// Shapes implements engine.SharedHandler.
func (o *openHandler) Shapes() (list []builtin.Params) {
	if sh, ok := o.Handler.(engine.SharedHandler); ok {
		list = sh.Shapes()
	}
	return list
}

var _ engine.SharedHandler = (*openHandler)(nil)

// Take implements engine.SharedHandler.
func (o *openHandler) Take(pos uint64) (uint64, error) {
	if sh, ok := o.Handler.(engine.SharedHandler); ok {
		return sh.Take(pos)
	}
	return 0, errShared
}

// MayRead implements engine.SharedHandler.
func (o *openHandler) MayRead(by handler.Peer) error {
	if sh, ok := o.Handler.(engine.SharedHandler); ok {
		return sh.MayRead(by)
	}
	return errShared
}

// Close implements engine.Handler.
func (o *openHandler) Close() error {
	o.t.mu.Lock()
	n := len(o.t.handlers)
	if !o.t.ended { // else the tracer's end returns the quota
		o.t.handlers = slices.DeleteFunc(o.t.handlers, func(h *openHandler) bool { return h == o })
	}
	gone := n - len(o.t.handlers)
	o.t.mu.Unlock()
	_ = o.t.a.spend(o.t.id.UID, Quota{Handlers: -gone, Memory: -int64(gone) * o.size})
	err := o.Handler.Close()
	if errors.Is(err, os.ErrClosed) && o.shut.Swap(false) {
		err = nil
	}
	return err
}

// end closes the handler when the tracer ends.
func (o *openHandler) end() error {
	o.shut.Store(true)
	if err := o.Handler.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
