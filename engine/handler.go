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
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/symbols"
)

// HandlerSpec asks for a handler: what runs at a hit instead of a stop.
type HandlerSpec struct {
	Name    string         // of one in Options.Handlers, or
	Handler *build.Handler // one without a name there
	// Params of a built-in handler; of others guards and names count only.
	Params builtin.Params
	Where  handler.Where // default handler.Auto: the cheapest executor that can
	// By is who asks, with the rights over the process; nil: who we run as,
	// with all rights.
	By    *handler.Peer
	Share Handler // whose maps it uses, and where it runs; it is closed last
}

// Handler is a handler that a session has opened: what its probes find out goes
// into one set of maps. Its methods may be called from any goroutine, also when
// the session is over; Read from one at a time.
type Handler interface {
	// Info tells what the handler is and where it runs.
	Info() HandlerInfo
	// Result is what the handler has found out so far, its maps' contents if
	// nobody can tell more.
	Result() (build.Result, error)
	// Entries gives the entries of the handler's map called name, nothing if
	// there is none, or after Close: for build.Typed and the like.
	Entries(name string) iter.Seq2[[]byte, [][]byte]
	// Read gives the next record of the handler's ring. It waits until the
	// deadline, then the error is os.ErrDeadlineExceeded. It is os.ErrClosed
	// after Close, and where there is no ring. The record is valid until the
	// next call.
	Read(deadline time.Time) ([]byte, error)
	// Decode says what a record says; errors wrap builtin.ErrRecord.
	Decode(record []byte) (build.Result, error)
	// Since is the moment (see Now) since which it counts, of Session.Begin; 0: since it
	// was opened. Records from before are still told, by Read.
	Since() int64
	// Lost is how many records were dropped for want of space in the ring, as
	// far as that is told: the kernel tells programs only.
	Lost() uint64
	// Limits are how far the limits are that it was opened with.
	Limits() []builtin.LimitState
	// Unread is how many hits its condition could not be told of, since memory that this
	// asks for could not be read: they were not taken.
	Unread() uint64
	// Close takes the handler away from its probes, which stay, and count only.
	// Its result and its limits can still be had, its records not.
	Close() error
}

// SharedHandler is a Handler whose maps lie in memory that other processes can
// map: those of local sessions, unless they run in the kernel.
type SharedHandler interface {
	Handler
	// File is the maps', for maps.OpenToRead. It is the handler's still.
	File() (*os.File, error)
	// Params are those that it was made with.
	Params() builtin.Params
	// Take gives back the space of records that another process has read, up to
	// a position in the ring, and gives that up to which all was given back.
	Take(pos uint64) (uint64, error)
	// MayRead is whether somebody may read the maps: who has opened the handler,
	// and whom its mode says.
	MayRead(by handler.Peer) error
}

// opened is the Handler of a local session.
type opened struct {
	s        *session
	*variant // that it was opened as
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

// HandlerInfo is what is known about a handler that was opened.
type HandlerInfo struct {
	Name    string
	Version int           // of the registry's
	Where   handler.Where // never handler.Auto
	Why     string        // it runs there, and not in a cheaper place
	Steps   int           // instructions that a run takes at the most
	Records bool          // it has a ring, to be read by Read
	Writes  bool          // it may change registers or memory of the program
	// Failures are runs that came to no end: a mistake of ours, or of an
	// executor's. The first is told as an event.Warning.
	Failures uint64
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
	tracee := handler.InTracee{File: s.newFile()}
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
		if !ok || of.s != s {
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
	v := variantOf(in)
	h := &opened{s: s, variant: v, variants: []*variant{v}, changes: in.Needs&program.Override != 0, params: o.Params, by: o.By}
	if spec.Handler == nil && s.opts.Handlers == nil {
		h.kind = spec.Name
	}
	h.native = h.kernel == nil && in.Where == handler.Tracee
	if h.records, err = in.Records(); err != nil {
		return nil, errors.Join(err, in.Close())
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
		return nil, fmt.Errorf("maps of %s: %w", h.in.Name, failure.Unsupportedf("they are the kernel's"))
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
	err := h.s.unlinkAll(h)
	err = errors.Join(err, h.s.unjump(h)) // the last hits in kernel and program are over then
	var err2 error
	if !h.kept {
		h.last, err2 = h.read()
		h.unread = h.in.Unread()
	}
	h.closed = true
	h.limits, _ = h.in.Limits(h.self())
	return errors.Join(err, err2, h.in.Close())
}
