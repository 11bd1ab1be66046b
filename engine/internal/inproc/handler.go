package inproc

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/failure"
)

// Handler is the api.Handler of a local session.
type Handler struct {
	Of       *InProcess           // the session's
	Closing  func(*Handler) error // takes it away from all probes; set by engine
	*Variant                      // the variant that it was opened as
	// Variants are all variants that there are. They belong to the session's thread.
	Variants []*Variant

	Kind        string // the name of the built-in handler, with params; "": it is none
	params      builtin.Params
	by          handler.Peer
	Native      bool // it runs in the program behind jumps, and in the engine at traps
	Shut        bool // it has been closed; for the session's thread
	Changes     bool // it may change registers
	ReadsResult bool // its exit program reads the function's result
	records     handler.Records

	Failures atomic.Uint64
	since    atomic.Int64 // the time of Session.Begin, in ns
	mu       sync.Mutex
	closed   bool
	kept     bool
	last     build.Result // the result when it was closed or kept
	limits   []builtin.LimitState
	unread   uint64
}

// Under returns the handler's variant for a place, and compiles it first if there is none. Only the session's thread calls it. A handler that is closed does not run any
// more, and is returned as it was opened.
func (h *Handler) Under(p handler.Place) (*Variant, error) {
	in, err := h.In.Under(p)
	switch {
	case errors.Is(err, handler.ErrClosed):
		return h.Variant, nil
	case err != nil:
		return nil, err
	}
	for _, v := range h.Variants {
		if v.In == in {
			return v, nil
		}
	}
	v := variantOf(in)
	h.Variants = append(h.Variants, v)
	return v, nil
}

// NewHandler returns the handler of an instance.
func (x *InProcess) NewHandler(in *handler.Instance, o handler.Options) (h *Handler, err error) {
	v := variantOf(in)
	h = &Handler{Of: x, Variant: v, Variants: []*Variant{v}, Changes: in.Needs&program.Override != 0, params: o.Params, by: o.By}
	h.Native = h.Kernel == nil && in.Where == handler.Tracee
	if h.records, err = in.Records(); err != nil {
		return nil, err
	}
	h.ReadsResult = in.Exit != nil && in.Exit.Reads(resultWord(o.Context.Arch))
	return h, nil
}

// resultWord returns where a handler's context has the function's result, in bytes.
func resultWord(arch string) int {
	if arch == "amd64" {
		return 8 * 10 // rax
	}
	return 0 // x0
}

// Info implements Handler.
func (h *Handler) Info() api.HandlerInfo {
	steps := 0
	for _, at := range []build.Point{build.Entry, build.Exit} {
		if r := h.In.At(at); r != nil {
			steps = max(steps, r.Steps)
		}
	}
	return api.HandlerInfo{Name: h.In.Name, Version: h.In.Version, Where: h.In.Where, Why: h.In.Why, Steps: steps,
		Records: h.records != nil, Writes: h.In.Needs&(program.Override|program.WriteMemory) != 0, Failures: h.Failures.Load()}
}

// Result implements Handler.
func (h *Handler) Result() (build.Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.kept {
		return h.last, nil
	}
	return h.read()
}

// KeepResult makes Result return from now on what the handler has found out by now.
func (h *Handler) KeepResult() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.kept {
		return
	}
	if r, err := h.read(); err == nil {
		h.last, h.kept, h.unread = r, true, h.In.Unread()
	}
}

// read returns the result so far. The caller holds mu.
func (h *Handler) read() (build.Result, error) {
	r, err := h.In.Result(h.self())
	if r == nil && err == nil {
		r = build.DumpOf(h.In.Maps, h.In.Handler.Maps())
	}
	return r, err
}

func (h *Handler) self() handler.Peer { return h.by }

// Params implements SharedHandler.
func (h *Handler) Params() builtin.Params { return h.params }

// Shapes implements SharedHandler.
func (h *Handler) Shapes() []builtin.Params { return h.In.Shapes() }

// File implements SharedHandler.
func (h *Handler) File() (*os.File, error) {
	x, ok := h.In.Maps.(*handler.Interpreted)
	if !ok {
		return nil, fmt.Errorf("maps of %s: %w", h.In.Name, failure.Unsupportedf("they are the kernel's"))
	}
	return x.File(), nil
}

// Take implements SharedHandler.
func (h *Handler) Take(pos uint64) (uint64, error) {
	r, ok := h.records.(handler.Taker)
	if !ok || !h.In.Acquire() {
		return 0, os.ErrClosed
	}
	defer h.In.Release()
	return r.Take(pos), nil
}

// MayRead implements SharedHandler.
func (h *Handler) MayRead(by handler.Peer) error { return h.In.MayRead(by) }

// Entries implements Handler.
func (h *Handler) Entries(name string) iter.Seq2[[]byte, [][]byte] {
	return func(yield func([]byte, [][]byte) bool) {
		if !h.In.Acquire() {
			return
		}
		defer h.In.Release()
		for key, values := range h.In.Maps.Entries(name) {
			if !yield(key, values) {
				return
			}
		}
	}
}

// Read implements Handler.
func (h *Handler) Read(deadline time.Time) ([]byte, error) {
	if h.records == nil || !h.In.Acquire() {
		return nil, os.ErrClosed
	}
	defer h.In.Release()
	return h.records.Read(deadline)
}

// Decode implements Handler.
func (h *Handler) Decode(record []byte) (build.Result, error) {
	return h.In.Decode(record)
}

// Since implements Handler.
func (h *Handler) Since() int64 { return h.since.Load() }

// Lost implements Handler.
func (h *Handler) Lost() uint64 {
	if h.records == nil || !h.In.Acquire() {
		return 0
	}
	defer h.In.Release()
	return h.records.Lost()
}

// Limits implements Handler.
func (h *Handler) Limits() []builtin.LimitState {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return h.limits
	}
	list, _ := h.In.Limits(h.self())
	return list
}

// Unread implements Handler.
func (h *Handler) Unread() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.kept {
		return h.unread
	}
	return h.In.Unread()
}

// Close implements Handler.
func (h *Handler) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	err := h.Closing(h) // the last runs in kernel and program are over then
	var err2 error
	if !h.kept {
		h.last, err2 = h.read()
		h.unread = h.In.Unread()
	}
	h.closed = true
	h.limits, _ = h.In.Limits(h.self())
	return errors.Join(err, err2, h.In.Close())
}

// Reset makes a handler's maps as they were when it was opened. at is the time from which it counts
// then, in ns.
func (h *Handler) Reset(at int64) error {
	if !h.In.Acquire() {
		return nil // the handler is closed
	}
	defer h.In.Release()
	err := h.In.Maps.Reset()
	h.since.Store(at)
	if x, ok := h.In.Maps.(*handler.Interpreted); ok {
		x.SetBegun(at) // for tracers that read the maps in another process
	}
	return err
}
