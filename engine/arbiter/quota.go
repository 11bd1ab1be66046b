package arbiter

import (
	"cmp"
	"fmt"

	"github.com/ptracer/ptracer/engine/event"
)

// Quota is the most that the tracers of one user may have. A field that is 0 means the default: 64
// tracers, 10,000 probes, 500,000 places of these, 256 handlers, and 2 GiB for maps, rings and
// waiting events.
type Quota struct {
	Tracers, Probes, Places, Handlers int
	Memory                            int64 // bytes
}

func (q Quota) orDefault() Quota {
	return Quota{cmp.Or(q.Tracers, 64), cmp.Or(q.Probes, 10_000), cmp.Or(q.Places, 500_000), cmp.Or(q.Handlers, 256), cmp.Or(q.Memory, 2<<30)}
}

// defaultBuffer is how many events wait if the options do not say (event.NewQueue).
const defaultBuffer = 1 << 16

// costOf is what a tracer itself takes of the quota.
func costOf(t *Tracer) Quota {
	return Quota{Tracers: 1, Memory: int64(cmp.Or(t.opts.Buffer, defaultBuffer)) * int64(event.EntrySize)}
}

func (q Quota) negative() Quota {
	return Quota{-q.Tracers, -q.Probes, -q.Places, -q.Handlers, -q.Memory}
}

// take adds to what a user has, if the user's quota allows it. The lock is held.
func (a *Arbiter) take(uid uint32, q Quota) error {
	u, most := a.used[uid], a.opts.Quota
	if u == nil {
		u = &Quota{}
	}
	for _, c := range []struct {
		have, more, most int64
		what             string
	}{
		{int64(u.Tracers), int64(q.Tracers), int64(most.Tracers), "tracers"},
		{int64(u.Probes), int64(q.Probes), int64(most.Probes), "probes"},
		{int64(u.Places), int64(q.Places), int64(most.Places), "probed places"},
		{int64(u.Handlers), int64(q.Handlers), int64(most.Handlers), "handlers"},
		{u.Memory, q.Memory, most.Memory, "bytes for maps, rings and events"},
	} {
		if c.more > 0 && c.have+c.more > c.most {
			return fmt.Errorf("%w: %d %s", ErrQuota, c.most, c.what)
		}
	}
	*u = Quota{u.Tracers + q.Tracers, u.Probes + q.Probes, u.Places + q.Places, u.Handlers + q.Handlers, u.Memory + q.Memory}
	if a.used[uid] = u; *u == (Quota{}) {
		delete(a.used, uid)
	}
	return nil
}

func (a *Arbiter) spend(uid uint32, q Quota) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.take(uid, q)
}
