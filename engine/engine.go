// Package engine traces running programs: a Session puts probes into them and tells what happens.
//
//	s, err := engine.Attach(ctx, pid)       // or engine.Start(ctx, engine.Command{...})
//	p, err := s.Register(engine.ProbeSpec{Location: "libc:malloc"})
//	...
//	fmt.Println(s.Hits(p))
//	s.Detach()
//
// A session is one locked OS thread that owns the ptrace attachment. Requests are queued to the
// thread, and a doorbell wakes it. Stops are decided on it, and no ptrace request leaves it.
// Several sessions may live in one program, and the program's own children are not touched. All
// methods of a Session may be called from any goroutine. A ProbeSpec's Func runs on the session's
// thread and may use only the Hit that it is given.
//
// The package has the requests of the API, the table of stops (decide.go) and the wiring (wire.go)
// of the packages below engine/internal, which do the work. ARCHITECTURE.md is the map.
//
// An import of the package needs no privilege. Attaching follows the rules of ptrace(2), and
// Diagnose says which of them is in the way.
package engine

import (
	"context"
	"fmt"
)

// Attach traces a running process. The process neither stops nor notices. While a child of the
// calling process is traced, the caller must not wait for it, as exec.Cmd.Wait does: the kernel
// would give some of the stops to that wait (ErrWaited).
//
// If ctx is done before Attach is, the process is let go, with nothing of ptracer's in it,
// and the error wraps ctx.Err(); the step that has begun is ended first. ctx does not end the
// session.
func Attach(ctx context.Context, pid int, opts ...Options) (Session, error) {
	if err := refuse(pid); err != nil {
		return nil, err
	}
	s, err := newSession(opts)
	if err != nil {
		return nil, err
	}
	if err := attachFirst(ctx, s, pid); err != nil {
		return nil, err
	}
	return s, nil
}

// Start starts a program, which stands before its first instruction. Resume(pid) lets it go when
// the probes are registered.
//
// If ctx is done before Start is, the program is killed before it has executed anything, and the
// error wraps ctx.Err(). ctx does not end the session.
func Start(ctx context.Context, cmd Command, opts ...Options) (Session, error) {
	s, err := newSession(opts)
	if err != nil {
		return nil, err
	}
	if err = s.start(ctx, cmd); err == nil && ctx.Err() != nil {
		err = fmt.Errorf("start %s: %w", cmd.Path, ctx.Err())
	}
	if err != nil {
		s.Kill()
		return nil, err
	}
	return s, nil
}
