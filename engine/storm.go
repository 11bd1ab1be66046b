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
// An idle-class thread starves on a busy CPU. What it waits for the CPU is
// known from schedstat; where that is more than sharing saves, the thread goes
// back to what it was, for a while.
type storm struct {
	on      bool
	cpu     int
	hits    int   // since the last look
	since   int64 // ns, of the last look
	waited  int64 // run_delay at the last look
	until   int64 // not again before
	backoff int64
	mask    ptrace.CPUSet // the thread's own
}

const (
	stormLook  = 128           // hits between two looks
	stormQuick = 400_000       // ns a hit: more is no storm
	stormDelay = 60_000        // ns a hit waited for the CPU: more than sharing saves
	stormPause = 1_000_000_000 // ns, first back-off
)

// hit is called at each hit; most calls only count.
func (m *storm) hit(s *session, t *inferior.Task) {
	if m.hits++; m.hits < stormLook {
		if m.hits == 1 {
			m.since = now()
		} else if m.on && m.hits%16 == 0 && now()-m.since > 16*stormQuick*4 {
			m.leave(true) // starved, or over
		}
		return
	}
	at := now()
	each := (at - m.since) / int64(m.hits)
	m.hits = 0
	switch {
	case each > stormQuick:
		m.leave(false)
	case !m.on && at >= m.until:
		m.enter(t)
	case m.on:
		if d := ptrace.RunDelay(); (d-m.waited)/stormLook > stormDelay {
			m.leave(true)
		} else {
			m.waited = d
			m.follow(t)
		}
	}
}

func (m *storm) enter(t *inferior.Task) {
	m.mask = ptrace.Affinity()
	if !ptrace.CanLeaveIdle() || ptrace.SetIdleClass(true) != nil {
		m.until = 1<<63 - 1
		return
	}
	m.on, m.cpu, m.waited = true, -1, ptrace.RunDelay()
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

func (m *storm) leave(starved bool) {
	m.hits = 0
	if !m.on {
		return
	}
	m.on = false
	_ = ptrace.SetIdleClass(false)
	_ = ptrace.SetAffinity(&m.mask)
	if starved {
		m.backoff = min(max(2*m.backoff, stormPause), 64*stormPause)
		m.until = now() + m.backoff
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
