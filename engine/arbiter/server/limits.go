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

// Limits are what one user may have of the server itself; what is 0 is 128
// connections and 128 requests at once, those that last as long as a tracer
// included. What his tracers may have is an arbiter.Quota.
type Limits struct{ Connections, Requests int }

// maxRequest is the most that a request may have, in bytes: it is held in memory
// before its token is looked at, and a user may have 128 at once. The largest are a
// handler's programs and maps.
const maxRequest = 512 << 10

// maxRefused is how many connections there are at a time that are told only why
// they are refused.
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

// add counts more, or less, for a user; it is an error where that is too much.
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

// refuse is whether there may be one more connection that is told why it is
// refused.
func (l *limits) refuse() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refusing >= maxRefused {
		return false
	}
	l.refusing++
	return true
}

// refused is at the end of such a connection.
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
