package engine

import (
	"os"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A stop costs five to ten times less when tracer and tracee share a CPU: no
// idle CPU has to be woken, twice a hit. The tracee's affinity is its own; so
// the session's thread follows the tracee instead, and takes the scheduling
// class SCHED_IDLE while it does: the scheduler then counts the CPU as idle
// and leaves a woken tracee there instead of moving it away from us
// (select_idle_sibling, sched_idle_cpu in kernel/sched/fair.c).
//
// An idle-class thread starves on a busy CPU, where sharing gains nothing
// anyway. So each storm is a trial: what a hit took before is kept, and where
// hits then take longer, and it is the CPU that the thread waits for (which
// schedstat tells), it goes back to what it was. The next trial comes after a
// while, longer each time until one has done well.
type storm struct {
	on      bool
	cpu     int
	hits    int   // since the last look
	since   int64 // ns, of the last look
	waited  int64 // run_delay at the last look
	before  int64 // ns a hit took outside the storm
	entered int64 // ns
	until   int64 // not again before
	backoff int64
	mask    ptrace.CPUSet // the thread's own
}

const (
	stormLook  = 128           // hits between two looks
	stormPeek  = 8             // hits between two glances at the clock, in a storm
	stormQuick = 400_000       // ns a hit: more is no storm
	stormDelay = 10_000        // ns a hit waited for the CPU: less is no starving
	stormPause = 1_000_000_000 // ns, first back-off
	stormMost  = 64 * stormPause
)

// hit is called at each hit; most calls only count.
func (m *storm) hit(s *session, t *inferior.Task) {
	m.hits++
	if m.hits < stormLook && (!m.on || m.hits%stormPeek != 0) {
		return
	}
	at := now()
	each := (at - m.since) / int64(m.hits)
	if m.hits < stormLook {
		if each > 4*m.before && m.starved(each) {
			m.leave(true)
		}
		return
	}
	switch {
	case m.on && m.starved(each):
		m.leave(true)
	case each > stormQuick:
		m.leave(false)
	case m.on:
		m.waited = ptrace.RunDelay()
		m.follow(t)
	case at >= m.until:
		m.before = each
		m.enter(at, t)
	}
	m.hits, m.since = 0, at
}

// starved says whether hits take longer than outside the storm because the
// thread waits for its CPU.
func (m *storm) starved(each int64) bool {
	return each > m.before && (ptrace.RunDelay()-m.waited)/int64(m.hits) > stormDelay
}

func (m *storm) enter(at int64, t *inferior.Task) {
	m.mask = ptrace.Affinity()
	if !ptrace.CanLeaveIdle() || ptrace.SetIdleClass(true) != nil {
		m.until = 1<<63 - 1
		return
	}
	m.on, m.cpu, m.waited, m.entered = true, -1, ptrace.RunDelay(), at
	m.follow(t)
}

// follow moves the thread to where the tracee last ran.
func (m *storm) follow(t *inferior.Task) {
	if cpu := lastCPU(t.TID); cpu >= 0 && cpu != m.cpu {
		if ptrace.SetCPU(cpu) != nil {
			m.leave(true)
			return
		}
		m.cpu = cpu
	}
}

// leave ends the storm; after a failed one the next has to wait.
func (m *storm) leave(failed bool) {
	if !m.on {
		return
	}
	at := now()
	m.on, m.hits, m.since = false, 0, at
	_ = ptrace.SetIdleClass(false)
	_ = ptrace.SetAffinity(&m.mask)
	if at-m.entered > max(m.backoff, stormPause) {
		m.backoff = 0
	}
	if failed {
		m.backoff = min(max(2*m.backoff, stormPause), stormMost)
		m.until = at + m.backoff
	}
}

// lastCPU is the 39th field of /proc/PID/stat.
func lastCPU(tid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/stat")
	if err != nil {
		return -1
	}
	rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
	fields := strings.Fields(rest)
	if len(fields) < 37 {
		return -1
	}
	cpu, err := strconv.Atoi(fields[36])
	if err != nil {
		return -1
	}
	return cpu
}
