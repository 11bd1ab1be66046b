// Package engine traces running programs: a Session puts probes into them and
// tells what happens.
//
//	s, err := engine.Attach(ctx, pid)       // or engine.Start(ctx, engine.Command{...})
//	p, err := s.Register(engine.ProbeSpec{Location: "libc:malloc"})
//	...
//	fmt.Println(s.Hits(p))
//	s.Detach()
//
// A session is one locked OS thread that owns the ptrace attachment; requests
// are queued to it and a doorbell wakes it, stops are decided on it, and no
// ptrace request ever leaves it. Several sessions may live in one program, and
// the program's own children are not touched. All methods of a Session may be
// called from any goroutine; but a ProbeSpec's Func runs on the session's
// thread and may use only the Hit it is given.
//
// Importing it needs no privilege by itself; attaching follows the rules of
// ptrace(2), and Diagnose says which of them is in the way.
package engine

import (
	"context"
	"fmt"

	"github.com/ptracer/ptracer/engine/access"
)

// Attach traces a running process. It neither stops nor notices. A child of the
// calling process is not to be waited for meanwhile, as exec.Cmd.Wait does: the
// kernel tells that wait of the stops, too, and each is told once (ErrWaited).
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
	err = s.loop.Do(func() error { return s.life.Attach(ctx, pid, nil) })
	if err == nil && ctx.Err() != nil {
		err = access.Explain(pid, ctx.Err())
	}
	if err != nil {
		s.Detach()
		return nil, err
	}
	return s, nil
}

// Start runs a program stopped before its first instruction; Resume(pid)
// lets it go once the probes are registered. If ctx is done before Start is, the program is
// killed before it has executed anything, and the error wraps ctx.Err(). ctx does not end the
// session.
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
