package engine

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/symbols"
)

// opened is the Handler of a local session.
type opened struct {
	of       *session
	closing  func(*opened) error // has nothing run it any more
	*variant                     // that it was opened as
	// variants are those that there are; the loop's.
	variants []*variant

	kind    string // which of the built-in ones it is, if it is one, with these
	params  builtin.Params
	by      handler.Peer
	native  bool // it runs in the program where it can be jumped to, elsewhere in the engine
	shut    bool // closed; the loop's
	changes bool // it may change registers
	result  bool // its exit program looks at what the function returns
	records handler.Records

	failures atomic.Uint64
	since    atomic.Int64 // of Session.Begin
	mu       sync.Mutex
	closed   bool
	kept     bool
	last     build.Result // since it was closed, or kept
	limits   []builtin.LimitState
	unread   uint64
}

// everything is what a session's own tracer may do with handlers.
const everything = program.ReadMemory | program.WriteMemory | program.Override

// OpenHandler implements Session.
func (s *session) OpenHandler(spec HandlerSpec) (Handler, error) {
	ctx, err := program.ContextOf(s.isa.Name())
	if err != nil {
		return nil, err
	}
	var goCode bool
	if err := s.loop.Do(func() error {
		if s.past == nil {
			s.past = map[int][]*symbols.Module{}
		}
		goCode = s.allGo()
		return nil
	}); err != nil {
		return nil, err
	}
	if spec.Name == "latency" || spec.Name == "record" {
		spec.Params.Calls.Go = spec.Params.Calls.Go || goCode
	}
	if spec.Where == handler.Auto && s.opts.Resident {
		spec.Where = handler.Tracee
	}
	tracee := handler.InTracee{File: s.newFile}
	if goCode {
		tracee.Stack, tracee.Own = goStack-16, s.haveStacks() // the probe's own counter needs some, too
	}
	by := handler.Peer{UID: uint32(os.Geteuid()), GIDs: []uint32{uint32(os.Getegid())}, Rights: everything}
	if spec.By != nil {
		by = *spec.By
	}
	o := handler.Options{
		By: by, Context: ctx,
		Params: spec.Params, Where: spec.Where,
		Executors: handler.Executors{Tracee: tracee, Kernel: handler.InKernel{}, Engine: handler.InEngine{}},
	}
	h, err := s.openHandler(spec, o)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (s *session) openHandler(spec HandlerSpec, o handler.Options) (*opened, error) {
	var in *handler.Instance
	var err error
	if spec.Share != nil {
		of, ok := spec.Share.(*opened)
		if !ok || of.of != s {
			return nil, fmt.Errorf("%w: its maps are to be another session's", ErrHandler)
		}
		o.Share = of.in
	}
	switch registry := s.opts.Handlers; {
	case spec.Handler != nil && spec.Name != "":
		return nil, errors.New("handler: both a name and a value")
	case spec.Handler != nil:
		in, err = handler.OpenValue(spec.Handler, o)
	case registry != nil:
		in, err = registry.Open(spec.Name, o)
	default:
		in, err = builtins().Open(spec.Name, o)
	}
	if err != nil {
		return nil, err
	}
	h, err := s.newHandler(in, o)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	if spec.Handler == nil && s.opts.Handlers == nil {
		h.kind = spec.Name
	}
	h.closing = s.withoutHandler
	return h, nil
}

// withoutHandler has no probe run a handler any more.
func (s *session) withoutHandler(h *opened) error {
	err := s.unlinkAll(h)
	return errors.Join(err, s.unjump(h))
}

// newHandler is the handler of an instance.
func (s *session) newHandler(in *handler.Instance, o handler.Options) (h *opened, err error) {
	v := variantOf(in)
	h = &opened{of: s, variant: v, variants: []*variant{v}, changes: in.Needs&program.Override != 0, params: o.Params, by: o.By}
	h.native = h.kernel == nil && in.Where == handler.Tracee
	if h.records, err = in.Records(); err != nil {
		return nil, err
	}
	h.result = in.Exit != nil && in.Exit.Reads(resultWord(o.Context.Arch))
	return h, nil
}

var builtins = sync.OnceValue(handler.New)

// resultWord is where a context has what a function returns.
func resultWord(arch string) int {
	if arch == "amd64" {
		return 8 * 10 // rax
	}
	return 0 // x0
}

// allGo is whether all that is traced are Go programs: their goroutines are
// what calls are of, not their threads.
func (s *session) allGo() bool {
	n := 0
	for _, p := range s.loop.Procs {
		for _, m := range p.Modules {
			if m.Main {
				n++
				if !m.File.IsGo() {
					return false
				}
			}
		}
	}
	return n > 0
}

// Info implements Handler.
func (h *opened) Info() HandlerInfo {
	steps := 0
	for _, at := range []build.Point{build.Entry, build.Exit} {
		if r := h.in.At(at); r != nil {
			steps = max(steps, r.Steps)
		}
	}
	return HandlerInfo{Name: h.in.Name, Version: h.in.Version, Where: h.in.Where, Why: h.in.Why, Steps: steps,
		Records: h.records != nil, Writes: h.in.Needs&(program.Override|program.WriteMemory) != 0, Failures: h.failures.Load()}
}

// Result implements Handler.
func (h *opened) Result() (build.Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.kept {
		return h.last, nil
	}
	return h.read()
}

// keepResult has Result give what the handler has found out by now.
func (h *opened) keepResult() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.kept {
		return
	}
	if r, err := h.read(); err == nil {
		h.last, h.kept, h.unread = r, true, h.in.Unread()
	}
}

func (h *opened) read() (build.Result, error) {
	r, err := h.in.Result(h.self())
	if r == nil && err == nil {
		r = build.DumpOf(h.in.Maps, h.in.Handler.Maps())
	}
	return r, err
}

func (h *opened) self() handler.Peer { return h.by }

// Params implements SharedHandler.
func (h *opened) Params() builtin.Params { return h.params }

// File implements SharedHandler.
func (h *opened) File() (*os.File, error) {
	x, ok := h.in.Maps.(*handler.Interpreted)
	if !ok {
		return nil, fmt.Errorf("maps of %s: %w: they are the kernel's", h.in.Name, errors.ErrUnsupported)
	}
	return x.File(), nil
}

// Take implements SharedHandler.
func (h *opened) Take(pos uint64) (uint64, error) {
	r, ok := h.records.(handler.Taker)
	if !ok || !h.in.Acquire() {
		return 0, os.ErrClosed
	}
	defer h.in.Release()
	return r.Take(pos), nil
}

// MayRead implements SharedHandler.
func (h *opened) MayRead(by handler.Peer) error { return h.in.MayRead(by) }

// Entries implements Handler.
func (h *opened) Entries(name string) iter.Seq2[[]byte, [][]byte] {
	return func(yield func([]byte, [][]byte) bool) {
		if !h.in.Acquire() {
			return
		}
		defer h.in.Release()
		for key, values := range h.in.Maps.Entries(name) {
			if !yield(key, values) {
				return
			}
		}
	}
}

// Read implements Handler.
func (h *opened) Read(deadline time.Time) ([]byte, error) {
	if h.records == nil || !h.in.Acquire() {
		return nil, os.ErrClosed
	}
	defer h.in.Release()
	return h.records.Read(deadline)
}

// Decode implements Handler.
func (h *opened) Decode(record []byte) (build.Result, error) {
	if h.in.Handler.Decode == nil {
		return nil, fmt.Errorf("%w: those of %s are not known", builtin.ErrRecord, h.in.Name)
	}
	return h.in.Handler.Decode(record)
}

// Since implements Handler.
func (h *opened) Since() int64 { return h.since.Load() }

// Lost implements Handler.
func (h *opened) Lost() uint64 {
	if h.records == nil || !h.in.Acquire() {
		return 0
	}
	defer h.in.Release()
	return h.records.Lost()
}

// Limits implements Handler.
func (h *opened) Limits() []builtin.LimitState {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return h.limits
	}
	list, _ := h.in.Limits(h.self())
	return list
}

// Unread implements Handler.
func (h *opened) Unread() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.kept {
		return h.unread
	}
	return h.in.Unread()
}

// Close implements Handler.
func (h *opened) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	err := h.closing(h) // the last hits in kernel and program are over then
	var err2 error
	if !h.kept {
		h.last, err2 = h.read()
		h.unread = h.in.Unread()
	}
	h.closed = true
	h.limits, _ = h.in.Limits(h.self())
	return errors.Join(err, err2, h.in.Close())
}
