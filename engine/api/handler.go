package api

import (
	"iter"
	"os"
	"time"

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

// Run is what a handler did that ran on demand.
type Run struct {
	Return uint64   // R0
	Output []string // what it printed, by trace_printk
	Result build.Result
}
