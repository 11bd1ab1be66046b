package engine

import (
	"errors"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// HandlerSpec asks for a handler: what runs at a hit instead of a stop.
type HandlerSpec struct {
	Name    string         // of one in Options.Handlers, or
	Handler *build.Handler // one without a name there
	// Params of a built-in handler; of others guards and names count only.
	Params builtin.Params
	Where  handler.Where // default handler.Auto: the cheapest executor that can
}

// Handler is a handler that a session has opened: what its probes find out goes
// into one set of maps. Its methods may be called from any goroutine; Read from
// one at a time.
type Handler struct{}

// Info tells what the handler is and where it runs.
func (h *Handler) Info() HandlerInfo { return HandlerInfo{} }

// HandlerInfo is what is known about a handler that was opened.
type HandlerInfo struct {
	Name    string
	Version int           // of the registry's
	Where   handler.Where // never handler.Auto
	Why     string        // it runs there, and not in a cheaper place
	Steps   int           // instructions that a run takes at the most
	Records bool          // it has a ring, to be read by Read
}

// Result is what the handler has found out so far, nil if nobody can tell more
// than its maps hold.
func (h *Handler) Result() (build.Result, error) { return nil, errors.ErrUnsupported }

// Read gives the next record of the handler's ring. It waits until the deadline,
// then the error is os.ErrDeadlineExceeded; os.ErrClosed after Close. The record
// is valid until the next call.
func (h *Handler) Read(deadline time.Time) ([]byte, error) { return nil, errors.ErrUnsupported }

// Decode says what a record says; errors wrap builtin.ErrRecord.
func (h *Handler) Decode(record []byte) (build.Result, error) { return nil, errors.ErrUnsupported }

// Lost is how many records were dropped for want of space in the ring.
func (h *Handler) Lost() uint64 { return 0 }

// Limits are how far the limits are that it was opened with.
func (h *Handler) Limits() []builtin.LimitState { return nil }

// Close takes the handler away from its probes, which stay, and count only. Its
// result can still be had, its records not.
func (h *Handler) Close() error { return errors.ErrUnsupported }

// Run is what a handler did that ran on demand.
type Run struct {
	Return uint64   // R0
	Output []string // what it printed, by trace_printk
	Result build.Result
}

// Symbol is the name of an address of a process.
type Symbol struct {
	Binary   string    // file name of the object
	Path     string    // its path
	Function string    // "" if nobody knows
	Offset   arch.Addr // from the function's start, or from the object's if there is none
	Start    arch.Addr // where the object begins, in the process
	End      arch.Addr // and ends
	FileOff  uint64    // of the object's first byte
	BuildID  string
}

// OpenHandler implements Session.
func (s *session) OpenHandler(HandlerSpec) (*Handler, error) { return nil, errors.ErrUnsupported }

// RunHandler implements Session.
func (s *session) RunHandler(spec HandlerSpec, tid int, args ...uint64) (Run, error) {
	return Run{}, errors.ErrUnsupported
}

// Symbolize implements Session.
func (s *session) Symbolize(pid int, addr arch.Addr) (Symbol, bool) { return Symbol{}, false }
