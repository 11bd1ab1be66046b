package api

import (
	"os"

	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// Shared is a session that an arbiter shares between clients. The requests here are those of
// Session, on behalf of one of the clients.
type Shared interface {
	Session
	// RegisterFor is Register for a client: the probe is planted where SharedOptions.Allow allows it.
	RegisterFor(client any, spec ProbeSpec) (event.ProbeID, error)
	// OpenHandlerFor is OpenHandler with a client's rights over the process.
	OpenHandlerFor(by handler.Peer, spec HandlerSpec) (Handler, error)
	// RunHandlerFor is RunHandler with a client's rights over the process.
	RunHandlerFor(by handler.Peer, spec HandlerSpec, tid int, args ...uint64) (Run, error)
	// ResumeTaskIf is ResumeTask if ok returns true. ok is called on the session's thread while no
	// stop is decided, and may call no method of the Session: it is for an arbiter that counts the
	// clients for which a task stands.
	ResumeTaskIf(tid int, ok func() bool) error
}

// SharedOptions are those of a session that is shared.
type SharedOptions struct {
	Options
	// Allow, if it is not nil, reports whether a client may have probes in a process. It is called
	// on the session's thread, before the client's first probe is planted there, and again when the
	// process has executed another program, which may have other rights.
	Allow func(client any, pid int) bool
}

// SharedHandler is a Handler with maps in memory that other processes can map: a handler of a local
// session that does not run in the kernel.
type SharedHandler interface {
	Handler
	// File returns the file of the maps, for maps.OpenToRead. The handler still owns it.
	File() (*os.File, error)
	// Params returns the parameters that the handler was made with.
	Params() builtin.Params
	// Shapes returns the parameters of the handler with each form that its records have, in the order of
	// their numbers (builtin.ShapeOf), from 1 on. There are none if its expressions have no names.
	Shapes() []builtin.Params
	// Take frees the space of records that another process has read, up to a position in the ring.
	// It returns the position up to which all space is free.
	Take(pos uint64) (uint64, error)
	// MayRead returns an error if a client may not read the maps. The client that has opened the
	// handler may, and those that the handler's mode allows.
	MayRead(by handler.Peer) error
}
