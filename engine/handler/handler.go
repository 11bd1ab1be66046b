// Package handler is the registry of handlers: which users may run which handlers, and the state of
// those that run.
//
// A name stands for a handler: a user's programs, or a built-in handler that is made on request. A
// handler has an owner, a mode that says which other users may run it, read its maps or replace it,
// and the rights granted to its programs. A program that the verifier does not accept with these
// rights is not registered.
//
// An Instance is an open handler: verified programs and one set of maps, in one executor. It keeps
// what its name stood for when it was opened: replacing or removing the name does not affect it. It
// is closed when the last hit inside it has ended.
//
// Executors are plugged in (Executors): InEngine makes maps in shared memory and prepares programs
// for the interpreter, and InKernel hands both to the kernel. Package engine runs them at hits;
// this package must not import it. All methods may be called from any goroutine.
package handler

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/failure"
)

// Classes of errors, for errors.Is; errors of the verifier and of the executors are passed on
// unchanged. Something impossible is an errors.ErrUnsupported.
var (
	ErrNotFound   = errors.New("no such handler")
	ErrExists     = errors.New("there is a handler of that name")
	ErrName       = errors.New("not a name for a handler")
	ErrPermission = failure.Kind("not permitted", fs.ErrPermission)
	ErrClosed     = errors.New("closed")
)

// Error is an error of an operation on a handler.
type Error struct {
	Op   string // register, replace, remove, open, read
	Name string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("handler: %s %s: %v", e.Op, e.Name, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Mode says which users may do what with a handler, like a file's mode: three bits each for the
// owner, the owner's group, and all others. MayRead applies to the maps of an instance that another
// user has opened.
type Mode uint16

// Permissions of the three bits.
const (
	MayRun     Mode = 1
	MayReplace Mode = 2
	MayRead    Mode = 4
)

// DefaultMode lets all users run a handler, and its owner do everything.
const DefaultMode Mode = 0o711

// String writes a mode as ls does, with r for read, w for replace and x for run.
func (m Mode) String() string {
	s := make([]byte, 0, 9)
	for shift := 6; shift >= 0; shift -= 3 {
		for i, c := range []byte("rwx") {
			if m>>shift&(4>>i) == 0 {
				c = '-'
			}
			s = append(s, c)
		}
	}
	return string(s)
}

// Access is a handler's owner, mode and rights.
type Access struct {
	UID, GID uint32
	Mode     Mode           // 0: DefaultMode
	Rights   program.Rights // what its programs may do to the traced program
}

// Peer is the client of a request: the credentials of a tracer, and its rights over the process
// that it traces.
type Peer struct {
	UID    uint32
	GIDs   []uint32
	Rights program.Rights
}

// may returns an error unless the mode permits an operation to a peer; root may do anything.
func (a Access) may(p Peer, what Mode) error {
	mode, as := a.Mode, "others"
	switch {
	case p.UID == 0:
		return nil
	case p.UID == a.UID:
		mode, as = mode>>6, "its owner"
	case slices.Contains(p.GIDs, a.GID):
		mode, as = mode>>3, "its group"
	}
	if mode&what == what {
		return nil
	}
	names := map[Mode]string{MayRun: "run it", MayReplace: "replace it", MayRead: "read its maps"}
	return fmt.Errorf("%w: user %d may not %s (owner %d, mode %v, asked as %s)", ErrPermission, p.UID, names[what], a.UID, a.Mode, as)
}

// grants returns an error unless a peer has the rights that a handler needs.
func (p Peer) grants(needs program.Rights) error {
	if missing := needs &^ p.Rights; missing != 0 {
		return fmt.Errorf("%w: the tracer has no right to %s", ErrPermission, rightsText(missing))
	}
	return nil
}

// rightsText names rights.
func rightsText(r program.Rights) string {
	s := ""
	for i, name := range []string{"read memory", "write memory", "override registers"} {
		if r>>i&1 != 0 {
			if s != "" {
				s += ", "
			}
			s += name
		}
	}
	return s
}
