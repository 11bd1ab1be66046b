package server

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/tap"

	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
)

// Limits are what one user may have of the server itself. A field that is 0 means 128 connections
// or 128 requests at a time, including requests that last as long as a tracer. An arbiter.Quota
// limits what the user's tracers may have.
type Limits struct{ Connections, Requests int }

// maxRequest is the largest size of a request, in bytes: the server holds it in memory before it
// checks its token, and a user may have 128 at a time. The largest requests carry a handler's
// programs and maps.
const maxRequest = 512 << 10

// maxRefused is the most connections at a time that are only told why they are refused.
const maxRefused = 64

// limits count what users have.
type limits struct {
	most Limits

	mu       sync.Mutex
	users    map[uint32]*Limits
	refusing int
}

func newLimits(most Limits) *limits {
	return &limits{most: Limits{cmp.Or(most.Connections, 128), cmp.Or(most.Requests, 128)}, users: map[uint32]*Limits{}}
}

// add adds to a user's counts, or subtracts; it returns an error if the sum is too much.
func (l *limits) add(uid uint32, n Limits) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[uid]
	if u == nil {
		u = &Limits{}
	}
	switch {
	case n.Connections > 0 && u.Connections+n.Connections > l.most.Connections:
		return fmt.Errorf("%w: %d connections", arbiter.ErrQuota, l.most.Connections)
	case n.Requests > 0 && u.Requests+n.Requests > l.most.Requests:
		return fmt.Errorf("%w: %d requests at once", arbiter.ErrQuota, l.most.Requests)
	}
	u.Connections, u.Requests = u.Connections+n.Connections, u.Requests+n.Requests
	if l.users[uid] = u; *u == (Limits{}) {
		delete(l.users, uid)
	}
	return nil
}

func (l *limits) connect(uid uint32) error { return l.add(uid, Limits{Connections: 1}) }
func (l *limits) disconnect(uid uint32)    { _ = l.add(uid, Limits{Connections: -1}) }

// refuse reports whether one more connection may be told why it is refused.
func (l *limits) refuse() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refusing >= maxRefused {
		return false
	}
	l.refusing++
	return true
}

// refused is called at the end of such a connection.
func (l *limits) refused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusing--
}

// tap counts requests before their messages are read.
func (l *limits) tap(ctx context.Context, _ *tap.Info) (context.Context, error) {
	p, err := asks(ctx)
	if err == nil {
		err = l.add(p.UID, Limits{Requests: 1})
	}
	if err != nil {
		return ctx, wire.ToStatus(err)
	}
	context.AfterFunc(ctx, func() { _ = l.add(p.UID, Limits{Requests: -1}) })
	return ctx, nil
}
