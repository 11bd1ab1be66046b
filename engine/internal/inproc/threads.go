package inproc

import (
	"encoding/binary"
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/helper"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// threads returns where a space's table of threads lies, and maps it first if it is not there.
func (x *InProcess) threads(space *inferior.Space) (arch.Addr, error) {
	return x.wiped(space, &space.Threads, helper.ThreadsSize, inferior.PageSize)
}

// NoteThread writes the ids of a thread into its space's table: of a thread that begins, or that
// has its pointer for itself again after a vfork. They replace the ids of the parent from which the
// thread has its pointer.
func (x *InProcess) NoteThread(t *inferior.Task) error {
	p, space := t.Process, t.Process.Space
	if space.Threads == 0 {
		return nil
	}
	var err error
	if t.TID == p.PID { // a process that begins: a forked child's table is empty
		err = x.NoteOwner(space, 0)
	}
	pointer, err2 := ptrace.ThreadPointer(t.TID)
	switch {
	case err2 != nil:
		return errors.Join(err, err2)
	case pointer == 0:
		return errors.Join(err, x.noteOther(space, t))
	case space.Alike:
		return errors.Join(err, x.noteIDs(space, pointer, 0))
	}
	return errors.Join(err, x.noteIDs(space, pointer, idsOf(t)))
}

// noteOther writes the ids that hold for threads of which the table has no news, if there is only
// one such thread. A program that begins has one: the dynamic loader or the libc sets its pointer
// later. Threads that come later have their pointers from their beginning. With t nil, or more such
// threads, the ids are 0: threads ask the kernel.
func (x *InProcess) noteOther(space *inferior.Space, t *inferior.Task) error {
	if space.Threads == 0 {
		return nil
	}
	var ids uint64
	if t != nil && !space.Alike && t.Process.VFork == nil && (space.Other == 0 || space.Other == t.TID) && x.alone(t) {
		ids, space.Other = idsOf(t), t.TID
	} else {
		space.Other = -1
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], ids)
	return space.Memory.Write(space.Threads+helper.ThreadOther, b[:])
}

// NameOther writes the ids of the thread without news into the table like those of the others,
// because threads will come that no tracer sees. The space is halted.
func (x *InProcess) NameOther(space *inferior.Space) error {
	var err error
	if t := x.loop.Tasks[space.Other]; t != nil && t.Process.Space == space {
		err = x.NoteThread(t)
	}
	return errors.Join(err, x.noteOther(space, nil))
}

// alone reports whether no other stopped task of a task's space is without a thread pointer.
func (x *InProcess) alone(t *inferior.Task) bool {
	for _, p := range x.loop.Sharing(t.Process.Space) {
		for _, other := range p.Tasks {
			if other == t || other.State != inferior.Stopped {
				continue
			}
			if pointer, err := ptrace.ThreadPointer(other.TID); err == nil && pointer == 0 {
				return false
			}
		}
	}
	return true
}

// idsOf returns a task's ids as get_current_pid_tgid tells them.
func idsOf(t *inferior.Task) uint64 { return uint64(t.Process.PID)<<32 | uint64(t.TID) }

// NoteAlike makes all threads of a space ask the kernel for their ids at each hit, because a task
// begins with the thread pointer of its parent, which goes on beside it.
func (x *InProcess) NoteAlike(parent *inferior.Task) error {
	space := parent.Process.Space
	space.Alike = true
	if space.Threads == 0 {
		return nil
	}
	pointer, err := ptrace.ThreadPointer(parent.TID)
	if err == nil && pointer != 0 {
		err = x.noteIDs(space, pointer, 0)
	}
	err = errors.Join(err, x.NoteOwner(space, 0))
	return errors.Join(err, x.noteOther(space, nil))
}

// NoteOwner writes into a space's table which process it belongs to. It belongs to none if ids are
// not kept, or while a vfork child is in its parent's memory. left is a child that has just left
// it; 0: none.
func (x *InProcess) NoteOwner(space *inferior.Space, left int) error {
	if space.Threads == 0 {
		return nil
	}
	var owner uint64
	for _, p := range x.loop.Sharing(space) {
		if p.VFork == nil {
			owner = uint64(p.PID)
		} else if p.PID != left {
			owner = helper.NoOwner
			break
		}
	}
	if space.Alike {
		owner = helper.NoOwner
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], owner)
	return space.Memory.Write(space.Threads+helper.ThreadOwner, b[:])
}

// noteIDs writes a thread's ids into a table, 0 if the thread is to ask the kernel: as news, and
// into the thread's entry if it has one. If there is no place for the news, the threads without
// news ask.
func (x *InProcess) noteIDs(space *inferior.Space, pointer, ids uint64) error {
	at := space.Threads + arch.Addr(helper.ThreadNews(pointer))
	var places [helper.NewsProbes * helper.NewsSize]byte
	if err := space.Memory.Read(at, places[:]); err != nil {
		return err
	}
	var news [helper.NewsSize]byte
	binary.LittleEndian.PutUint64(news[:], pointer)
	binary.LittleEndian.PutUint64(news[8:], ids)
	off := x.newsPlace(places[:], pointer)
	if off < 0 {
		return x.noteOther(space, nil)
	}
	if err := space.Memory.Write(at+arch.Addr(off), news[:]); err != nil {
		return err
	}
	slots := helper.ThreadPlaces(pointer)
	entries := make([]byte, slots[len(slots)-1]-slots[0]+8)
	if err := space.Memory.Read(space.Threads+arch.Addr(slots[0]), entries); err != nil {
		return err
	}
	for _, off := range slots {
		if binary.LittleEndian.Uint64(entries[off-slots[0]:]) == pointer {
			return space.Memory.Write(space.Threads+arch.Addr(off)+helper.ThreadIDs, news[8:])
		}
	}
	return nil
}

// newsPlace returns where news of a pointer is, or can be: a place that is empty or has news of a
// thread that has gone. It is an offset into places, in bytes, or -1.
func (x *InProcess) newsPlace(places []byte, pointer uint64) int {
	free := -1
	for off := 0; off < len(places); off += helper.NewsSize {
		is, ids := binary.LittleEndian.Uint64(places[off:]), binary.LittleEndian.Uint64(places[off+8:])
		if is == pointer {
			return off
		}
		if free < 0 && (is == 0 || ids != 0 && x.loop.Tasks[int(uint32(ids))] == nil) {
			free = off
		}
	}
	return free
}

// NoteThreads writes the ids of all threads of a space into its table, once.
func (x *InProcess) NoteThreads(space *inferior.Space, known Pointers) error {
	if space.Threads == 0 || space.ThreadsNoted {
		return nil
	}
	space.ThreadsNoted = true
	ids := map[uint64]uint64{} // ids by thread pointer
	var other *inferior.Task
	note := func(p *inferior.Process) error {
		for _, t := range p.Tasks {
			pointer, err := known[t].To, known[t].Err
			if err != nil && !ptrace.IsGone(err) {
				return err
			}
			if err == nil && pointer == 0 {
				other = t
			}
			if ids[pointer] != 0 && pointer != 0 && p.VFork == nil {
				space.Alike = true
			}
			ids[pointer] = idsOf(t)
		}
		return nil
	}
	var errs []error
	for _, vforked := range []bool{false, true} { // vfork children have their parents' pointers, and come second
		for _, p := range x.loop.Sharing(space) {
			if (p.VFork != nil) == vforked {
				errs = append(errs, note(p))
			}
		}
	}
	delete(ids, 0)
	errs = append(errs, x.NoteOwner(space, 0))
	if other != nil {
		errs = append(errs, x.noteOther(space, other))
	}
	for pointer, id := range ids {
		if space.Alike {
			id = 0
		}
		errs = append(errs, x.noteIDs(space, pointer, id))
	}
	return errors.Join(errs...)
}

// Pointers are the thread pointers of tasks, or why they are not known.
type Pointers map[*inferior.Task]pointer

type pointer struct {
	To  uint64
	Err error
}

// LearnPointers returns the thread pointers of all tasks of a halted space.
func (x *InProcess) LearnPointers(space *inferior.Space) Pointers {
	known := Pointers{}
	for _, p := range x.loop.Sharing(space) {
		for _, t := range p.Tasks {
			known.Learn(t)
		}
	}
	return known
}

// Learn reads the thread pointer of a task.
func (known Pointers) Learn(t *inferior.Task) {
	to, err := ptrace.ThreadPointer(t.TID)
	known[t] = pointer{to, err}
}

// LooksAtThreadSlots reports whether CheckThreadSlots has anything to check in a space.
func (x *InProcess) LooksAtThreadSlots(space *inferior.Space) bool {
	return x.TakeThreadSlots() && !space.NoThreadSlots && !space.ThreadSlotsChecked
}
