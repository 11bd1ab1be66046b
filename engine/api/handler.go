package api

import (
	"iter"
	"time"

	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// HandlerSpec asks for a handler: a program that runs at each hit instead of a stop. Name or
// Handler is set.
type HandlerSpec struct {
	Name    string         // of a handler in Options.Handlers
	Handler *build.Handler // a handler that the registry does not have
	// Params are those of a built-in handler. For others only the guards and names in it count.
	Params builtin.Params
	Where  handler.Where // where it runs; default handler.Auto: the cheapest executor that can
	Share  Handler       // another handler: this one uses its maps and executor, and must be closed before it
}

// Handler is a handler that a session has opened. All probes with it write to one set of maps. Its
// methods may be called from any goroutine, also after the session's end; Read by one at a time.
type Handler interface {
	// Info returns what the handler is and where it runs.
	Info() HandlerInfo
	// Result returns what the handler has found out so far. Without a reader of its own, it is the
	// maps' contents.
	Result() (build.Result, error)
	// Entries returns the entries of the handler's map called name, for build.Typed and the like.
	// There are none if there is no such map, and after Close.
	Entries(name string) iter.Seq2[[]byte, [][]byte]
	// Read returns the next record of the handler's ring. It waits until the deadline; then the
	// error is os.ErrDeadlineExceeded. The error is os.ErrClosed after Close, and if there is no
	// ring. The record is valid until the next call.
	Read(deadline time.Time) ([]byte, error)
	// Decode returns what a record means. Errors wrap builtin.ErrRecord.
	Decode(record []byte) (build.Result, error)
	// Since returns the moment from which the handler counts, in ns (see Now): that of
	// Session.Begin, or 0 for its opening. Read still gives records from before.
	Since() int64
	// Lost returns how many records were dropped because the ring was full. It is 0 for a handler
	// in the kernel, which tells only its programs.
	Lost() uint64
	// Limits returns the state of the limits that the handler was opened with.
	Limits() []builtin.LimitState
	// Unread returns how many hits were not taken because memory that the condition asks for could
	// not be read.
	Unread() uint64
	// Close takes the handler away from its probes. The probes stay, and only count. Result and
	// Limits can still be called; records are gone.
	Close() error
}

// HandlerInfo describes a handler that was opened.
type HandlerInfo struct {
	Name    string
	Version int           // the registry's version of it
	Where   handler.Where // never handler.Auto
	Why     string        // why it runs there, and not in a cheaper executor
	Steps   int           // the most instructions that a run executes
	Records bool          // it has a ring, which Read reads
	Writes  bool          // it may change registers or memory of the program
	// Failures is how many runs came to no end: a bug of ptracer's or of an executor's. The first
	// one is told as an event.Warning.
	Failures uint64
}

// Run is the outcome of a handler that has run on demand.
type Run struct {
	Return uint64   // the program's R0
	Output []string // what it printed, by trace_printk
	Result build.Result
}
