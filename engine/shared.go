package engine

import (
	"context"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler"
)

// shared is a session that an arbiter shares between clients.
type shared struct{ *session }

// AttachShared is Attach for an arbiter, which shares the session between clients.
func AttachShared(ctx context.Context, pid int, o SharedOptions) (Shared, error) {
	if err := refuse(pid); err != nil {
		return nil, err
	}
	s, err := newShared(o)
	if err != nil {
		return nil, err
	}
	if err := attachFirst(ctx, s, pid); err != nil {
		return nil, err
	}
	return shared{s}, nil
}

// newShared starts a session for several clients.
func newShared(o SharedOptions) (*session, error) {
	s := &session{isa: hostISA(), done: make(chan struct{}), opts: o}
	s.wire()
	ready := make(chan error)
	go s.loop.Run(ready)
	return s, <-ready
}

// attachFirst attaches to a session's first process, or ends the session.
func attachFirst(ctx context.Context, s *session, pid int) error {
	err := s.loop.Do(func() error { return s.life.Attach(ctx, pid, nil) })
	if err == nil && ctx.Err() != nil {
		err = access.Explain(pid, ctx.Err())
	}
	if err != nil {
		s.Detach()
	}
	return err
}

// RegisterFor implements Shared.
func (s shared) RegisterFor(client any, spec ProbeSpec) (event.ProbeID, error) {
	return registerFor(s.session, client, spec)
}

// OpenHandlerFor implements Shared.
func (s shared) OpenHandlerFor(by handler.Peer, spec HandlerSpec) (Handler, error) {
	return openHandlerFor(s.session, by, spec)
}

// RunHandlerFor implements Shared.
func (s shared) RunHandlerFor(by handler.Peer, spec HandlerSpec, tid int, args ...uint64) (Run, error) {
	return runHandlerFor(s.session, by, spec, tid, args...)
}

// ResumeTaskIf implements Shared.
func (s shared) ResumeTaskIf(tid int, ok func() bool) error {
	return s.loop.Do(func() error {
		if !ok() {
			return nil
		}
		return s.resumeTask(tid)
	})
}
