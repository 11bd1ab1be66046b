package life

import (
	"errors"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Release takes out of a process all that ptracer has put there and lets it go. The processes that
// share its space go with it, because they could not run without the tracer.
func (x *Life) Release(p *inferior.Process) error {
	var ps []*inferior.Process
	for _, q := range x.loop.Procs {
		if q.Space == p.Space {
			ps = append(ps, q)
		}
	}
	x.plant.NoteLost(p.Space, p.Space.Table.Sites()) // this reads memory: while the process runs
	start := ptrace.Now()
	err := x.clean.Dismantle(p.Space, ps, x.loop.HaltAll(ps))
	if ptrace.IsGone(err) { // the process was killed meanwhile
		err = nil
	}
	for _, q := range ps {
		err = errors.Join(err, x.Let(q))
	}
	x.loop.Paused(ptrace.Now() - start)
	x.CheckEnd()
	return err
}

// Let detaches from the stopped tasks of a process and forgets the process.
func (x *Life) Let(p *inferior.Process) error {
	var errs []error
	for _, t := range x.loop.Order.ToLetGo(p) {
		if t.State == inferior.Stopped {
			err := t.Flush()
			err = errors.Join(err, ptrace.Detach(t.TID, t.HeldSig)) // the task goes on in any case
			if err != nil && !ptrace.IsGone(err) {
				errs = append(errs, err)
			}
		}
		t.State = inferior.Gone
		delete(x.loop.Tasks, t.TID)
	}
	x.leaveSpace(p)
	delete(x.loop.Procs, p.PID)
	return errors.Join(errs...)
}
