package engine

import (
	"errors"
	"time"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// loop waits for stops and decides them until the last process has gone.
func (s *session) loop() {
	for {
		if s.written {
			s.settle()
		}
		s.takeEnds()
		s.takeLate()
		stop, err := s.wait()
		if err != nil {
			// ECHILD can't be while the bell lives; somebody killed it.
			break
		}
		s.take(stop)
		s.everybody()
		if s.asked.Load() {
			s.obey()
		}
		if s.ending {
			break
		}
	}
}

// The kernel tells of the task that was attached last first (do_wait_thread goes
// through the list that ptrace_link adds to in front). Tasks that stop again as
// soon as they go on would have the others wait for ever, and the bell, which
// was there first. So after some stops each task is asked for by itself; and
// whether there are commands is looked at after each stop.
const turnStops = 64

// everybody asks for the stops of tasks that may have been passed over, now and
// then.
func (s *session) everybody() {
	if s.turn++; s.turn < max(turnStops, 4*len(s.tasks)) {
		return
	}
	s.turn = 0
	if len(s.tasks) < 2 {
		return
	}
	for _, t := range s.tasks {
		if t.State != inferior.Running {
			continue
		}
		if stop, ok, err := ptrace.Wait(t.TID, false); ok && err == nil {
			s.take(stop)
		}
	}
}

// wait blocks until there is a stop. In a storm the next one is mostly there
// already, the tracee having run in our place: then the Go scheduler need not
// know, which otherwise gives our processor to another thread at each hit.
func (s *session) wait() (ptrace.Stop, error) {
	if s.storm.on {
		if stop, ok, err := ptrace.Wait(-1, false); ok || err != nil {
			return stop, err
		}
	}
	stop, _, err := ptrace.Wait(-1, true)
	return stop, err
}

// take decides one answer of wait.
func (s *session) take(stop ptrace.Stop) {
	if stop.Task == s.bell.Task() {
		if stop.Kind == ptrace.Signal || stop.Kind == ptrace.Group || stop.Kind == ptrace.Trap {
			_ = ptrace.Cont(stop.Task, 0)
		}
		s.obey()
		return
	}
	s.stats.stops.Add(1)
	t := s.tasks[stop.Task]
	if a := s.away[stop.Task]; t == nil && a != nil { // a child of ours, still
		s.onAway(a, stop)
		return
	}
	if p := s.procs[stop.Task]; t == nil && p != nil && stop.Kind == ptrace.Exec {
		t = s.addTask(p, stop.Task, false) // a thread has taken the place of the first, which had ended before the attach
	}
	if t == nil {
		// A child's first stop may come before its parent's event.
		if stop.Kind == ptrace.Exit || ptrace.Take(stop.Task).Kind == ptrace.Exit {
			_ = ptrace.Cont(stop.Task, 0) // a parent that was killed tells nothing: its end is all there is to know
			return
		}
		s.keepEarly(stop)
		return
	}
	t.Begin(stop)
	s.deciding = append(s.deciding, t)
	if err := s.decide(t, stop); err != nil && !isGone(err) {
		s.warn(t.Process, "task %d: %v", t.TID, err)
	}
	s.deciding = s.deciding[:len(s.deciding)-1]
	s.keep(t)
}

// keep has a task that stays stopped not be told again. From then on the signal
// that it stands at is lost if we die: the kernel must know already where the
// task is to go on, which is not behind our trap.
func (s *session) keep(t *inferior.Task) {
	if t.State == inferior.Stopped {
		_ = t.Flush() // it may have been killed
		if stop := t.Take(); stop.Kind == ptrace.Exit {
			s.take(stop)
		}
	}
}

// next waits for the stop of a task that goes on only for a moment: a step, or
// a system call of ours. Others' stops wait meanwhile.
func (s *session) next(t *inferior.Task) (ptrace.Stop, error) {
	for {
		stop, err := s.stopOf(t)
		if err != nil {
			return stop, err
		}
		s.stats.stops.Add(1)
		t.Begin(stop)
		if stop.Kind != ptrace.Exit {
			return stop, nil
		}
		if err := s.onExiting(t); err != nil {
			return stop, err
		}
	}
}

// stopOf waits for one task. The end of a process's first task is told when nobody has
// to be told of its others' ends any more: these are looked for, too, if it takes long.
// A session whose task does not come back has failed.
func (s *session) stopOf(t *inferior.Task) (ptrace.Stop, error) {
	const soon, often, seldom = 100, 50 * time.Microsecond, time.Millisecond
	w := watchdog{s: s, t: t}
	for n := 0; ; n++ {
		stop, ok, err := ptrace.Wait(t.TID, false)
		switch {
		case ok || err != nil:
			return stop, err
		case n < soon:
			ptrace.Yield()
			continue
		}
		if t.TID == t.Process.PID && len(t.Process.Tasks) > 1 {
			s.seeEnds(t)
		}
		w.look()
		time.Sleep(min(often*time.Duration(1+(n-soon)/soon), seldom))
	}
}

// seeEnds notes which tasks have ended, of the process whose first task t is.
func (s *session) seeEnds(t *inferior.Task) {
	ids, _ := procfs.Tasks(t.TID) // also those that have not been told of yet
	for _, id := range ids {
		if id == t.TID {
			continue
		}
		if stop, ended := ptrace.Ended(id); ended {
			s.ends = append(s.ends, stop) // to decide it now might take t's stop
		}
	}
}

// takeEnds decides the ends of tasks that stopOf has seen.
func (s *session) takeEnds() {
	for len(s.ends) > 0 {
		stop := s.ends[0]
		s.ends = s.ends[1:]
		if s.tasks[stop.Task] != nil {
			s.take(stop)
		}
	}
}

// decide is the table of what a stop leads to; each case is one line.
func (s *session) decide(t *inferior.Task, stop ptrace.Stop) error {
	switch stop.Kind {
	case ptrace.Signal:
		return s.onSignal(t, stop)
	case ptrace.Trap:
		return s.onTrap(t)
	case ptrace.Group:
		return s.onGroup(t)
	case ptrace.SyscallStop:
		return s.resume(t, 0)
	case ptrace.Clone, ptrace.Fork, ptrace.VFork:
		return s.onNewTask(t, stop.Kind)
	case ptrace.VForkDone:
		return s.onVForkDone(t)
	case ptrace.Exec:
		return s.onExec(t)
	case ptrace.Exit:
		return s.onExiting(t)
	case ptrace.Exited, ptrace.Killed:
		return s.onEnd(t, stop)
	default:
		return s.resume(t, 0)
	}
}

// resume lets a stopped task go on, unless somebody holds it.
func (s *session) resume(t *inferior.Task, signal ptrace.Signo) error {
	if t.Held() {
		if !t.Asked {
			t.HeldSig = signal
			return nil
		}
		// Any stop clears a pending interrupt (ptrace_stop, kernel/signal.c).
		if err := ptrace.Interrupt(t.TID); err != nil {
			return err
		}
	}
	return s.letGo(t, signal)
}

func (s *session) letGo(t *inferior.Task, signal ptrace.Signo) error {
	if err := t.Flush(); err != nil {
		return err
	}
	if !t.Asked {
		t.Settled = false
	}
	if t.Stop.Kind == ptrace.Group && !t.Asked {
		t.State = inferior.Listening
		return ptrace.Listen(t.TID)
	}
	t.State = inferior.Running
	err := s.cont(t, signal)
	if s.noted == t {
		err = errors.Join(err, s.forgetHand(t))
	}
	return err
}

// pump takes stops, of any task, until done says so. It is how a request on
// the session's thread waits for a task without losing others' stops. It gives
// up after patience.
func (s *session) pump(done func() bool) error { return s.pumpFor(patience, done) }

func (s *session) pumpFor(d time.Duration, done func() bool) error {
	alarm := time.AfterFunc(d, s.bell.Ring)
	defer alarm.Stop()
	deadline := time.Now().Add(d)
	for _, t := range s.deciding {
		s.keep(t)
	}
	s.pumping++
	defer func() { s.pumping-- }()
	for s.takeEnds(); !done(); s.takeEnds() {
		stop, _, err := ptrace.Wait(-1, true)
		if err != nil {
			return err
		}
		if stop.Task == s.bell.Task() {
			_ = ptrace.Cont(stop.Task, 0) // commands wait until the present one is through
		} else {
			s.take(stop)
			s.everybody()
		}
		if time.Now().After(deadline) && !done() {
			return errBusy
		}
	}
	return nil
}

// await pumps until tasks that were asked to stop stand. On a machine so busy
// that they do not even run it is more patient than with tasks that can't stop.
func (s *session) await(tasks []*inferior.Task, done func() bool) error {
	err := s.pumpFor(impatience, done)
	if err != errBusy || allWaitForChild(tasks) {
		return err
	}
	for range 5 {
		if err := s.pump(done); err != errBusy {
			return err
		}
		for _, t := range tasks {
			if t.State != inferior.Gone && !atEvent(t) && procfs.State(t.TID) == 'D' {
				return errBusy
			}
		}
	}
	return errBusy
}

// allWaitForChild reports whether all of the tasks that do not stand yet wait for a
// child that uses their memory (vfork). They stop when it has left that, which may be
// never: meanwhile the others, which are halted, would wait for nothing.
func allWaitForChild(tasks []*inferior.Task) bool {
	for _, t := range tasks {
		if t.State != inferior.Gone && !atEvent(t) && !ptrace.WaitsForChild(t.TID) {
			return false
		}
	}
	return true
}

// impatience is when await looks whether tasks can't stop.
const impatience = 10 * time.Millisecond

// patience is how long a task may take to answer PTRACE_INTERRUPT: one in an
// uninterruptible wait, a vfork's parent above all, answers when that ends.
const patience = 2 * time.Second

var errBusy = errors.New("task does not stop: it is in an uninterruptible wait")

// halt stops t where anything may be done to it: in an event stop on its way to
// user mode. It stays there until unhalt.
func (s *session) halt(t *inferior.Task) error {
	t.Hold++
	if err := s.toEventStop(t); err != nil {
		t.Hold--
		return err
	}
	return nil
}

// trapPending says whether a task stands in an event stop that came between a
// trap of ours and its signal (get_signal serves job control first): it is not
// halted before it has taken the signal.
func (s *session) trapPending(t *inferior.Task) bool {
	if !t.Watched && !s.pastTrap(t) {
		return false
	}
	st, err := procfs.ReadStatus(t.TID)
	return err == nil && st.Hex("SigPnd")&bitTrap != 0
}

// pastTrap says whether a task is where a trap of ours would have left it.
func (s *session) pastTrap(t *inferior.Task) bool {
	table := t.Process.Space.Table
	if !table.Prepared() {
		return false
	}
	pc, err := t.PC()
	return err == nil && (table.At(s.isa.TrapPC(pc)) != nil || table.Was(s.isa.TrapPC(pc)))
}

func atEvent(t *inferior.Task) bool {
	return t.State == inferior.Stopped && (t.Stop.Kind == ptrace.Trap || t.Stop.Kind == ptrace.Group)
}

func (s *session) toEventStop(t *inferior.Task) error {
	if atEvent(t) {
		return nil
	}
	if t.State == inferior.Gone {
		return ptrace.ErrGone
	}
	s.storm.leave(false) // nobody shall wait for a thread of the idle class
	t.Asked = true
	if err := ptrace.Interrupt(t.TID); err != nil {
		return err
	}
	if t.State == inferior.Stopped {
		signal := t.HeldSig
		t.HeldSig = 0
		if err := s.letGo(t, signal); err != nil {
			return err
		}
	}
	if err := s.await([]*inferior.Task{t}, func() bool { return t.State == inferior.Gone || atEvent(t) }); err != nil {
		return err
	}
	if t.State == inferior.Gone {
		return ptrace.ErrGone
	}
	return nil
}

// unhalt ends a halt; the task goes on if nobody else holds it.
func (s *session) unhalt(t *inferior.Task) error {
	t.Hold = max(t.Hold-1, 0)
	if t.State != inferior.Stopped || t.Held() {
		return nil
	}
	signal := t.HeldSig
	t.HeldSig = 0
	return s.letGo(t, signal)
}
