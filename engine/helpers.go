package engine

import (
	"errors"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/helper"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/failure"
)

// Helpers in the program: the code that handlers behind jumps call lies once in a
// space for each handler, and the table of threads, by which they tell ids without
// asking the kernel, once for all.

// library is the code that a handler calls in a space; none, of one that calls nothing.
type library struct {
	of *variant // nil: all
	by finding
	at arch.Addr // where it was wanted
	*helper.Library
	// templates are the programs that call it, on the maps at a place.
	templates map[template]*compile.Template
}

type template struct {
	program *verify.Result
	region  arch.Addr
}

// template is that of a program that calls the library.
func (l *library) template(program *verify.Result, region arch.Addr) *compile.Template {
	key := template{program, region}
	if l.templates[key] == nil {
		l.templates[key] = &compile.Template{}
	}
	return l.templates[key]
}

// errIDs is of resident probes: nobody sees threads come and go.
var errIDs = failure.Unsupportedf("it reports thread ids, which are only kept right while a tracer is attached")

// libraryFor gives the code of the helpers of a handler's variant in a process's space,
// and puts it there first if it is not there. Its maps are at region.
func (s *session) libraryFor(p *inferior.Process, h *opened, v *variant, region, near arch.Addr, by finding) (*library, error) {
	env, need := v.in.Maps.(*handler.Interpreted).Helpers(v.in.Verified, region)
	if s.opts.Resident && h.kind != "latency" && asksIDs(need) { // to latency any thread of that id will do
		return nil, errIDs
	}
	if s.wouldAsk(p, h, need) && (p.Space.Dispatches || s.seal(p) != 0) || takesTime(need) && (s.noTime(p) || s.seal(p) == sealStrict) {
		return nil, errSealed
	}
	var err error
	switch by {
	case byLine:
		need = append(need, handler.ClaimLine)
		env.Self = true
		env.Lines, err = s.linesAt(p, near)
	case byStack:
		need = append(need, handler.TakeStack)
		if env.Stacks, err = s.stacks(p.Space); err == nil {
			env.Lines, err = s.linesAt(p, near)
		}
	}
	if err != nil {
		return nil, err
	}
	switch env.Lost = env.Lines + maps.OffLost; {
	case !s.takeLines():
		env.Lines = 0
	case env.Lines != 0:
		env.Owners = s.counters[0].Owners(env.Lines)
	}
	return s.library(p, v, near, by, env, need)
}

// library gives the code that a handler calls, or that all do if there is none.
func (s *session) library(p *inferior.Process, of *variant, near arch.Addr, by finding, env helper.Env, need []compile.Helper) (*library, error) {
	for _, l := range s.libraries[p.Space] {
		if l.of == of && l.by == by && distance(l.at, near) < s.remote.Reach() {
			return l, nil
		}
	}
	l := &library{of: of, by: by, at: near, Library: &helper.Library{}, templates: map[template]*compile.Template{}}
	if len(need) == 0 {
		s.libraries[p.Space] = append(s.libraries[p.Space], l)
		return l, nil
	}
	var err error
	if env.Threads, err = s.threads(p.Space); err != nil {
		return nil, err
	}
	err = p.Space.Table.AddLibrary(near, func(at arch.Addr) (code []byte, err error) {
		if l.Library, err = env.Make(need, at); err == nil {
			code = l.Code
		}
		return code, err
	})
	if err != nil {
		return nil, err
	}
	s.libraries[p.Space] = append(s.libraries[p.Space], l)
	return l, nil
}

// threads gives the place of a space's table of threads, and maps it first if it
// is not there.
func (s *session) threads(space *inferior.Space) (arch.Addr, error) {
	return s.wiped(space, &space.Threads, helper.ThreadsSize, inferior.PageSize)
}

// stacks gives the place of a space's stacks for threads: where each has its own, the
// first is for those that look for theirs.
func (s *session) stacks(space *inferior.Space) (arch.Addr, error) {
	if s.takeLines() {
		return s.wiped(space, &space.Stacks, maps.Lines*compile.OwnStackSize, compile.OwnStackSize)
	}
	const pool = compile.PoolStacks * compile.PoolStack
	return s.wiped(space, &space.Stacks, pool, pool)
}

// wiped maps memory in a space that a child begins with empty, unless it is there
// already, at a multiple of align.
func (s *session) wiped(space *inferior.Space, at *arch.Addr, size, align uint64) (arch.Addr, error) {
	if *at != 0 {
		return *at, nil
	}
	if len(s.regions[space]) == inferior.Regions {
		return 0, errManyRegions
	}
	size = (size+inferior.PageSize-1)&^(inferior.PageSize-1) + align - inferior.PageSize
	err := s.remote.WithTask(s.loop.Sharing(space), func(t *inferior.Task) error {
		addr, err := s.remote.MapNear(t, space.Table.GuardHeader(), int(size), remote.Anonymous)
		if err != nil {
			return err
		}
		if err := s.addRegion(space, region{addr: addr, size: int(size)}); err != nil {
			return err
		}
		if _, err = s.remote.Call(t, ptrace.SysMadvise, uint64(addr), size, ptrace.WipeOnFork); err == nil {
			*at = (addr + arch.Addr(align) - 1) &^ (arch.Addr(align) - 1)
		}
		return err
	})
	return *at, err
}

// noteThread puts what is known of a thread that begins, or has its pointer for itself
// again, into its space's table, in the place of what that says of the one that it has
// its pointer from: a parent, which waits while a child (vfork) is in its memory.
func (s *session) noteThread(t *inferior.Task) error {
	p, space := t.Process, t.Process.Space
	if space.Threads == 0 {
		return nil
	}
	var err error
	if t.TID == p.PID { // a forked child's table is empty
		err = s.noteOwner(space, 0)
	}
	pointer, err2 := ptrace.ThreadPointer(t.TID)
	switch {
	case err2 != nil:
		return errors.Join(err, err2)
	case pointer == 0:
		return errors.Join(err, s.noteOther(space, t))
	case space.Alike:
		return errors.Join(err, s.noteIDs(space, pointer, 0))
	}
	return errors.Join(err, s.noteIDs(space, pointer, idsOf(t)))
}

// noteOther says whose ids those are of whom there is no news: of a program that begins
// it is the only thread, whose pointer is set later, by the dynamic loader or the libc.
// Threads that come have theirs from the beginning, or there is no telling.
func (s *session) noteOther(space *inferior.Space, t *inferior.Task) error {
	if space.Threads == 0 {
		return nil
	}
	var ids uint64
	if t != nil && !space.Alike && t.Process.VFork == nil && (space.Other == 0 || space.Other == t.TID) && s.alone(t) {
		ids, space.Other = idsOf(t), t.TID
	} else {
		space.Other = -1
	}
	var b [8]byte
	putLe64(b[:], ids)
	return space.Memory.Write(space.Threads+helper.ThreadOther, b[:])
}

// nameOther puts what is known of a halted space's thread without news into its table as
// of the others: there will be threads that nobody knows.
func (s *session) nameOther(space *inferior.Space) error {
	var err error
	if t := s.loop.Tasks[space.Other]; t != nil && t.Process.Space == space {
		err = s.noteThread(t)
	}
	return errors.Join(err, s.noteOther(space, nil))
}

// alone is whether no other task of its space is without a pointer.
func (s *session) alone(t *inferior.Task) bool {
	for _, p := range s.loop.Sharing(t.Process.Space) {
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

// idsOf are a task's, as get_current_pid_tgid tells them.
func idsOf(t *inferior.Task) uint64 { return uint64(t.Process.PID)<<32 | uint64(t.TID) }

// noteAlike has all threads ask for their ids at each hit: a task begins with the
// pointer of its parent, which goes on beside it.
func (s *session) noteAlike(parent *inferior.Task) error {
	space := parent.Process.Space
	space.Alike = true
	if space.Threads == 0 {
		return nil
	}
	pointer, err := ptrace.ThreadPointer(parent.TID)
	if err == nil && pointer != 0 {
		err = s.noteIDs(space, pointer, 0)
	}
	err = errors.Join(err, s.noteOwner(space, 0))
	return errors.Join(err, s.noteOther(space, nil))
}

// noteOwner says whose a space's table is, which child has just left: nobody's, where
// ids are not to be kept, or while a child is in its parent's memory.
func (s *session) noteOwner(space *inferior.Space, left int) error {
	if space.Threads == 0 {
		return nil
	}
	var owner uint64
	for _, p := range s.loop.Sharing(space) {
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
	putLe64(b[:], owner)
	return space.Memory.Write(space.Threads+helper.ThreadOwner, b[:])
}

// noteIDs writes a thread's ids into a table, 0 for those that are to be asked for: as
// news, and where they may be already. Where there is no place for the news, it asks.
func (s *session) noteIDs(space *inferior.Space, pointer, ids uint64) error {
	at := space.Threads + arch.Addr(helper.ThreadNews(pointer))
	var places [helper.NewsProbes * helper.NewsSize]byte
	if err := space.Memory.Read(at, places[:]); err != nil {
		return err
	}
	var news [helper.NewsSize]byte
	putLe64(news[:], pointer)
	putLe64(news[8:], ids)
	off := s.newsPlace(places[:], pointer)
	if off < 0 {
		return s.noteOther(space, nil)
	}
	if err := space.Memory.Write(at+arch.Addr(off), news[:]); err != nil {
		return err
	}
	slots := helper.ThreadSlots(pointer)
	entries := make([]byte, slots[len(slots)-1]-slots[0]+8)
	if err := space.Memory.Read(space.Threads+arch.Addr(slots[0]), entries); err != nil {
		return err
	}
	for _, off := range slots {
		if le64(entries[off-slots[0]:]) == pointer {
			return space.Memory.Write(space.Threads+arch.Addr(off)+helper.ThreadIDs, news[8:])
		}
	}
	return nil
}

// newsPlace is where in the places of a pointer there is news of it, or may be: where
// there is none yet, or of a thread that has gone; -1 if nowhere.
func (s *session) newsPlace(places []byte, pointer uint64) int {
	free := -1
	for off := 0; off < len(places); off += helper.NewsSize {
		is, ids := le64(places[off:]), le64(places[off+8:])
		if is == pointer {
			return off
		}
		if free < 0 && (is == 0 || ids != 0 && s.loop.Tasks[int(uint32(ids))] == nil) {
			free = off
		}
	}
	return free
}

// noteThreads puts what is known of the threads of a space into its table.
func (s *session) noteThreads(space *inferior.Space, known pointers) error {
	if space.Threads == 0 || space.ThreadsNoted {
		return nil
	}
	space.ThreadsNoted = true
	ids := map[uint64]uint64{} // by pointer
	var other *inferior.Task
	note := func(p *inferior.Process) error {
		for _, t := range p.Tasks {
			pointer, err := known[t].to, known[t].err
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
	for _, vforked := range []bool{false, true} { // these have their parents' pointers
		for _, p := range s.loop.Sharing(space) {
			if (p.VFork != nil) == vforked {
				errs = append(errs, note(p))
			}
		}
	}
	delete(ids, 0)
	errs = append(errs, s.noteOwner(space, 0))
	if other != nil {
		errs = append(errs, s.noteOther(space, other))
	}
	for pointer, id := range ids {
		if space.Alike {
			id = 0
		}
		errs = append(errs, s.noteIDs(space, pointer, id))
	}
	return errors.Join(errs...)
}

// asksIDs is whether a handler's code tells threads apart by the table of
// threads, which we keep right.
func asksIDs(need []compile.Helper) bool {
	return slices.ContainsFunc(need, func(h compile.Helper) bool {
		switch h.Num {
		case program.FnCurrentPIDTGID, program.FnRingbufReserve, program.FnRingbufOutput, program.FnPerfEventOutput:
			return true
		}
		return false
	})
}
