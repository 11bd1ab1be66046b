package remote

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// Room makes room for ptracer's code in a space: it implements breakpoint.Mapper by system
// calls in a task of the space.
type Room struct {
	c     *Caller
	space *inferior.Space
	batch *batch // under way, or nil
}

// Room is that of a space.
func (c *Caller) Room(space *inferior.Space) *Room { return &Room{c: c, space: space} }

// batch is the task that makes the calls of a Batch, and the mappings before it.
type batch struct {
	task *inferior.Task
	maps []procfs.Mapping
}

// Map implements breakpoint.Mapper.
func (r *Room) Map(near arch.Addr, size int) (at arch.Addr, err error) {
	err = r.c.WithTask(r.c.loop.Sharing(r.space), func(t *inferior.Task) error {
		at, err = r.c.MapNear(t, near, size, Mapping{ptrace.ProtRX, ptrace.MapPrivateAnon, ^uint64(0)})
		return err
	})
	return at, err
}

// MapAt implements breakpoint.Mapper.
func (r *Room) MapAt(at arch.Addr, size int) (err error) {
	if r.batch == nil {
		return r.Batch(func() error { return r.MapAt(at, size) })
	}
	if mayGrow(r.batch.maps, at, size) {
		return breakpoint.ErrTaken
	}
	t := r.batch.task
	got, err := r.c.Call(t, ptrace.SysMmap, uint64(at), uint64(size), ptrace.ProtRX, ptrace.MapPrivateAnon|ptrace.MapNoReplace, ^uint64(0), 0)
	if err == nil && arch.Addr(got) != at {
		_, _ = r.c.Call(t, ptrace.SysMunmap, got, uint64(size)) // as below
		return breakpoint.ErrTaken
	}
	if err != nil && !ptrace.IsGone(err) && !Forbids(err) {
		return fmt.Errorf("%w: %w", breakpoint.ErrTaken, err)
	}
	return err
}

// Batch implements breakpoint.Mapper.
func (r *Room) Batch(f func() error) error {
	return r.c.WithTask(r.c.loop.Sharing(r.space), func(t *inferior.Task) error {
		maps, err := procfs.Maps(t.Process.PID)
		if err != nil {
			return err
		}
		r.batch = &batch{t, maps}
		defer func() { r.batch = nil }()
		return f()
	})
}

// mayGrow reports whether anything is in a place, or may come to be there because it
// grows: the heap upwards, to twice its size at least, and stacks downwards. Allocators
// whose heap can't grow on map memory elsewhere.
func mayGrow(maps []procfs.Mapping, at arch.Addr, size int) bool {
	const lowest, heapRoom, stackRoom = 0x10000, 8 << 20, 256 << 20
	end := at + arch.Addr(size)
	if at < lowest {
		return true
	}
	for _, m := range maps {
		lo, hi := m.Start, m.End
		switch {
		case m.Path == "[heap]":
			hi += max(heapRoom, hi-lo)
		case strings.HasPrefix(m.Path, "[stack"):
			lo -= min(lo, stackRoom)
		}
		if at < hi && lo < end {
			return true
		}
	}
	return false
}

// Mapping is what is to be mapped, as mmap wants it.
type Mapping struct{ Prot, Flags, FD uint64 }

// Anonymous is memory of the space's own, to be read and written.
var Anonymous = Mapping{ptrace.ProtRW, ptrace.MapPrivateAnon, ^uint64(0)}

// MapNear maps size bytes in t's space, near an address.
func (c *Caller) MapNear(t *inferior.Task, near arch.Addr, size int, m Mapping) (arch.Addr, error) {
	maps, err := procfs.Maps(t.Process.PID)
	if err != nil {
		return 0, err
	}
	var last error = errNoRoom
	for _, at := range gaps(maps, near, size, c.Reach()) {
		got, err := c.Call(t, ptrace.SysMmap, uint64(at), uint64(size), m.Prot, m.Flags|ptrace.MapNoReplace, m.FD, 0)
		if err != nil {
			if last = err; ptrace.IsGone(err) {
				return 0, err
			}
			continue
		}
		if arch.Addr(got) == at {
			return at, nil
		}
		_, _ = c.Call(t, ptrace.SysMunmap, got, uint64(size)) // a kernel before 4.17 took it as a hint
	}
	return 0, last
}

var errNoRoom = errors.New("no gap in the address space near enough")

// Reach is how far from the probed code a slot may lie.
func (c *Caller) Reach() arch.Addr {
	if c.isa.MinInst() == 4 {
		return 100 << 20
	}
	return 1 << 30
}

// gaps lists places for size bytes within reach of near, nearest first. It
// keeps away from the ends that stacks and the heap grow from: only the end
// of a gap that touches code or other file mappings from below is used, and
// the far end of a gap above.
func gaps(maps []procfs.Mapping, near arch.Addr, size int, reach arch.Addr) (at []arch.Addr) {
	const lowest, margin, stackRoom = 0x10000, 16 * inferior.PageSize, 64 << 20
	n := arch.Addr((size + inferior.PageSize - 1) &^ (inferior.PageSize - 1))
	end := arch.Addr(lowest)
	for _, m := range maps {
		if m.Start >= 1<<56 { // the kernel's half: vsyscall; arm64 has user addresses of 48 and 52 bits
			break
		}
		if strings.HasPrefix(m.Path, "[stack") {
			if m.Start > end && m.Start-end > n+stackRoom {
				at = append(at, end+margin)
			}
		} else if m.Start > end && m.Start-end >= n+2*margin {
			at = append(at, m.Start-margin-n)
			if end > lowest && m.Start-end > n+8<<20 { // above, but away from a heap that grows
				at = append(at, max(end, min(near+reach/2, m.Start-margin-n))&^(inferior.PageSize-1))
			}
		}
		end = max(end, m.End)
	}
	distance := func(a arch.Addr) arch.Addr { return max(a, near) - min(a, near) }
	at = slices.DeleteFunc(at, func(a arch.Addr) bool { return distance(a) > reach })
	slices.SortFunc(at, func(a, b arch.Addr) int { return cmp.Compare(distance(a), distance(b)) })
	return at[:min(len(at), 16)]
}

// WithTask halts one task of ps for f, which has it make system calls; the one that
// costs least of those that may be had to.
func (c *Caller) WithTask(ps []*inferior.Process, f func(*inferior.Task) error) error {
	var last error = ptrace.ErrGone
	for t := range candidates(ps) {
		if c.cantSuspend {
			if err := CheckSeccomp(t.TID); err != nil {
				last = err
				continue
			}
		}
		start := ptrace.Now()
		err := c.loop.Halt(t)
		if err != nil {
			last = err
			continue
		}
		if err = c.MayCall(t); err == nil {
			err = f(t)
		}
		err = errors.Join(err, c.loop.Unhalt(t))
		c.loop.Paused(ptrace.Now() - start)
		if ptrace.IsGone(err) || Forbids(err) {
			last = err
			continue
		}
		return err
	}
	return last
}

// candidates are the tasks of some processes by how soon they can be expected to stand:
// halted ones, other stopped ones, then by the kernel's state, which is not asked for before
// it matters: there may be thousands.
func candidates(ps []*inferior.Process) iter.Seq[*inferior.Task] {
	return func(yield func(*inferior.Task) bool) {
		var stands, stopped, runs, fresh, waits []*inferior.Task
		for _, p := range ps {
			for _, t := range p.Tasks {
				list := &runs
				switch {
				case t.Fresh:
					list = &fresh
				case t.AtEvent():
					list = &stands
				case t.State == inferior.Stopped:
					list = &stopped
				}
				*list = append(*list, t)
			}
		}
		asked := func(t *inferior.Task) bool {
			if procfs.State(t.TID) == 'D' {
				waits = append(waits, t)
				return true
			}
			return yield(t)
		}
		each := func(list []*inferior.Task, yield func(*inferior.Task) bool) bool {
			slices.SortFunc(list, func(a, b *inferior.Task) int { return cmp.Compare(a.TID, b.TID) })
			return !slices.ContainsFunc(list, func(t *inferior.Task) bool { return !yield(t) })
		}
		_ = each(stands, yield) && each(stopped, yield) && each(runs, asked) && each(waits, yield) && each(fresh, yield)
	}
}
