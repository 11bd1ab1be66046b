package clean

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/tasks"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/goruntime"
	"github.com/ptracer/ptracer/symbols/unwind"
)

// Tasks in ptracer's code without the tracer's doing. When a tracer dies, the kernel delivers the
// SIGTRAP that the tracer had only looked at: a task may enter the guard just when the next tracer
// comes. Another task may be in a stub, or in a signal handler that will return to one of these
// places.

// errWithin says that mappings stay because a task is in them.
var errWithin = errors.New("a task is in ptracer's code, or is to return there: the program's code is as it was, ptracer's mappings stay until the next detach")

// leaveOurs lets halted tasks leave the guard and stubs, and signal handlers that return into
// ptracer's code: the tasks go on for a moment, by themselves. They are not stepped: a task in the
// guard has SIGTRAP blocked, and the trap of a step that a dead tracer does not take would kill it.
func (c *Cleaner) leaveOurs(space *inferior.Space, table *breakpoint.Table, ps []*inferior.Process) error {
	const soon, late = 50 * time.Microsecond, 2 * time.Second
	for d, end := soon, time.Now().Add(late); ; d = min(2*d, late/16) {
		in := c.within(space, table, ps)
		if len(in) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return errWithin
		}
		if err := c.goOnFor(d, ps, in); err != nil {
			return err
		}
		if len(c.loop.Sharing(space)) == 0 { // the process has ended, or executed another program
			return ptrace.ErrGone
		}
	}
}

// goOnFor lets some of the halted tasks of ps go on for a time, and halts them again.
func (c *Cleaner) goOnFor(d time.Duration, ps []*inferior.Process, in []*inferior.Task) error {
	for _, p := range ps {
		p.Hold++ // threads that begin meanwhile stand
		defer func() { p.Hold-- }()
	}
	for _, t := range in {
		signal := t.HeldSig
		t.HeldSig, t.Settled = 0, false
		t.Asked = true // a job-control stop does not keep it stopped either
		if err := c.loop.LetGo(t, signal); err != nil && !ptrace.IsGone(err) {
			return err
		}
	}
	err := c.loop.LetRun(d)
	for _, t := range in {
		if t.State != inferior.Gone && !t.AtEvent() {
			c.loop.Ask(t)
		}
	}
	return errors.Join(err, c.loop.Await(in, func() bool { return len(tasks.Moving(ps)) == 0 }))
}

// within returns the halted tasks that will leave ptracer's code by themselves, or will return to
// it.
func (c *Cleaner) within(space *inferior.Space, table *breakpoint.Table, ps []*inferior.Process) (in []*inferior.Task) {
	inside := func(pc arch.Addr) bool {
		return table.InArea(pc) || space.Scratch != 0 && pc >= space.Scratch && pc < space.Scratch+arch.Addr(c.remote.ScratchRoom())
	}
	for _, p := range ps {
		stacks, _ := procfs.Maps(p.PID)
		isGo := slices.ContainsFunc(p.Objects(), func(m *symbols.Module) bool { return m.File.IsGo() })
		for _, t := range p.Tasks {
			pc, err := t.PC()
			if err != nil || !t.AtEvent() {
				continue
			}
			_, _, inSlot := table.Locate(pc)
			if inside(pc) && !inSlot && !table.InTrampoline(pc) || c.returns(t, table, stacks, isGo, inside) {
				in = append(in, t)
			}
		}
	}
	return in
}

// returns reports whether a signal handler of a task will return into ptracer's code. Go's runtime
// parks no goroutine there, because it knows no function of that code.
func (c *Cleaner) returns(t *inferior.Task, table *breakpoint.Table, stacks []procfs.Mapping, isGo bool, inside func(arch.Addr) bool) bool {
	r, err := t.Regs()
	if err != nil {
		return false
	}
	sp, most := arch.Addr(r[c.isa.SPReg()]), 256<<10
	if isGo {
		most = goruntime.SignalStack
	}
	words := jump.StackWords(t.Process.Space, stacks, sp, most)
	places := unwind.Signalled(c.isa, words)
	if isGo {
		places = unwind.Interrupted(c.isa, words, sp)
	}
	if slices.ContainsFunc(places, func(v uint64) bool { return inside(arch.Addr(v)) }) {
		return true
	}
	return table.Prepared() && table.GuardHeader() != 0 && c.restores(t, table, sp&^7, words, r)
}

// restores reports whether the program's own SIGTRAP handler, which the guard has called, will
// return by the guard's restorer. On amd64 the handler is given the program's own restorer instead.
func (c *Cleaner) restores(t *inferior.Task, table *breakpoint.Table, sp arch.Addr, words []uint64, r *arch.Regs) bool {
	_, restorer := table.GuardHandler()
	if link := c.isa.LinkReg(); link >= 0 {
		return c.isa.ReturnAddr(r[link]) == uint64(restorer) ||
			slices.ContainsFunc(words, func(v uint64) bool { return c.isa.ReturnAddr(v) == uint64(restorer) })
	}
	own := guard.OwnAction(t.Process).Restorer
	for i, v := range words {
		if pc := i + 1 + c.isa.UContextPC(); v != uint64(restorer) || pc+2 >= len(words) || !c.isa.UserState(words[pc+1], words[pc+2]) {
			continue
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], own)
		if own == 0 || t.Process.Space.Memory.Write(sp+arch.Addr(8*i), b[:]) != nil {
			return true
		}
	}
	return false
}

// unwatched reports whether tasks of a space may have come into ptracer's code while no tracer kept
// signals from them there, or by the guard.
func unwatched(space *inferior.Space, ps []*inferior.Process) bool {
	return space.Found || slices.ContainsFunc(ps, func(p *inferior.Process) bool { return p.Traps })
}
