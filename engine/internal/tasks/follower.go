package tasks

import (
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A stop costs five to ten times less when tracer and tracee share a CPU: no
// idle CPU has to be woken, twice a hit. The tracee's affinity is its own; so
// the session's thread follows the tracee instead, and takes the scheduling
// class SCHED_IDLE while it does: the scheduler then counts the CPU as idle
// and leaves a woken tracee there instead of moving it away from the tracer
// (select_idle_sibling, sched_idle_cpu in kernel/sched/fair.c).
//
// The tracee moves all the same now and then, to where the load balancer or a
// wake-up by another task puts it; each hit is then a wake-up of another CPU
// until the thread follows. So a hit that took longer than the quickest is
// followed by a look at where the tracee runs.
//
// An idle-class thread starves on a busy CPU: a hit then takes a tenth of a
// second. Where all CPUs are busy sharing gains nothing anyway, since none has
// to be woken. So there is no storm while fewer than two CPUs are free, and
// each storm is a trial: what a hit took before is kept, and when one takes
// longer because the thread waits for its CPU (which schedstat tells), or the
// tracee does not stay, the thread goes back to what it was, for a time that
// grows with each failure.
// Follower has the session's thread follow a task in a storm of stops.
type Follower struct {
	on      bool
	cpu     int
	hits    int   // since the last look
	since   int64 // ns, of the last look
	waited  int64 // run_delay at the last look
	last    int64 // ns, the hit before
	best    int64 // ns between two hits of this storm, the least
	moves   int   // of the tracee, since the last look
	vain    int   // hits to let pass after a slow one that was no move
	again   int   // the hit from which slow ones count again
	before  int64 // ns a hit took outside the storm
	entered int64 // ns
	until   int64 // not again before
	backoff int64
	mask    ptrace.CPUSet // the thread's own
}

const (
	stormLook  = 128         // hits between two looks
	stormQuick = 1_000_000   // ns a hit: more is no storm
	stormPause = 100_000_000 // ns, first back-off
	stormMost  = 640 * stormPause
	stormGood  = 1_000_000_000 // ns: a storm that lasted so long was no failure
	stormCrowd = 50_000_000    // ns until it is looked again whether CPUs are free
)

// Hit is called at each hit; most calls only count.
func (m *Follower) Hit(t *inferior.Task) {
	if m.hits++; m.hits < stormLook {
		if m.on {
			m.watch(ptrace.Now(), t)
		}
		return
	}
	at := ptrace.Now()
	each := (at - m.since) / stormLook
	switch {
	case m.on && (m.starved(at, 2) || m.moves > stormLook/4):
		m.leave(true)
	case each > stormQuick:
		m.leave(false)
	case m.on:
		m.waited = ptrace.RunDelay()
		m.follow(t)
	case at < m.until:
	case crowded():
		m.until = at + stormCrowd
	default:
		m.before = each
		m.enter(at, t)
	}
	m.hits, m.since, m.last, m.moves, m.again = 0, at, ptrace.Now(), 0, m.vain
}

// watch looks after the tracee when a hit took long. The look costs as much as
// a hit: where it was in vain, some hits pass until the next.
func (m *Follower) watch(at int64, t *inferior.Task) {
	took := at - m.last
	m.last = at
	switch m.best = min(m.best, took); {
	case m.starved(at, 4):
		m.leave(true)
	case took > 2*m.best && m.hits >= m.again:
		moves := m.moves
		m.follow(t)
		if m.vain = min(2*m.vain+4, stormLook); m.moves > moves {
			m.vain = 0
		}
		m.again, m.last = m.hits+m.vain, ptrace.Now()
	}
}

// starved reports whether the hits since the last look have taken longer than
// outside the storm, some times as long and a hit or two more, and the thread
// spent most of that waiting for its CPU. (It always waits while the tracee
// runs; where a hit is slow because the tracee has moved it does not wait.)
func (m *Follower) starved(at, times int64) bool {
	took := at - m.since
	return took > times*m.before*int64(m.hits+2) && ptrace.RunDelay()-m.waited > took/2
}

// crowded reports whether fewer than two CPUs are free, one of them the tracer's. The Go
// runtime's other threads, which look for work, are none that stay.
func crowded() bool {
	n := ptrace.Runnable()
	return n >= cpus && n-ptrace.OwnRunnable()+1 >= cpus
}

var cpus = ptrace.CPUs()

func (m *Follower) enter(at int64, t *inferior.Task) {
	m.mask = ptrace.Affinity()
	if !ptrace.CanLeaveIdle() || ptrace.SetIdleClass(true) != nil {
		m.until = 1<<63 - 1
		return
	}
	m.on, m.cpu, m.waited, m.entered, m.best = true, -1, ptrace.RunDelay(), at, m.before
	m.follow(t)
}

// follow moves the thread to where the tracee last ran.
func (m *Follower) follow(t *inferior.Task) {
	if cpu := ptrace.LastCPU(t.TID); cpu >= 0 && cpu != m.cpu {
		if ptrace.SetCPU(cpu) != nil {
			m.leave(true)
			return
		}
		m.cpu = cpu
		m.moves++
	}
}

// leave ends the storm; after a failed one the next has to wait.
func (m *Follower) leave(failed bool) {
	if !m.on {
		return
	}
	at := ptrace.Now()
	m.on, m.hits, m.since = false, 0, at
	_ = ptrace.SetIdleClass(false)
	_ = ptrace.SetAffinity(&m.mask)
	if at-m.entered > max(m.backoff, stormGood) {
		m.backoff = 0
	}
	if failed {
		m.backoff = min(max(2*m.backoff, stormPause), stormMost)
		m.until = at + m.backoff
	}
}
