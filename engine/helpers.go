package engine

import (
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/helper"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Helpers in the program: the code that handlers behind jumps call lies once in a
// space for each handler, and the table of threads, by which they tell ids without
// asking the kernel, once for all.

// library is the code that a handler calls in a space.
type library struct {
	of *opened // nil: all
	by finding
	at arch.Addr // where it was wanted
	*helper.Library
	// templates are the handler's own programs, as they call it, on the maps at
	// a place.
	templates map[template]*compile.Template
}

type template struct {
	program *verify.Result
	region  arch.Addr
}

var noLibrary = &library{Library: &helper.Library{}}

// template is that of a program of the library's handler, nil if it has none.
func (l *library) template(program *verify.Result, region arch.Addr) *compile.Template {
	if l.of == nil {
		return nil
	}
	key := template{program, region}
	if l.templates[key] == nil {
		l.templates[key] = &compile.Template{}
	}
	return l.templates[key]
}

// errIDs is of resident probes: nobody sees threads come and go.
var errIDs = fmt.Errorf("%w: it tells threads' ids, which nobody keeps right without a tracer", breakpoint.ErrUnsupported)

// libraryFor gives the code of a handler's helpers in a process's space, and puts it
// there first if it is not there. Its maps are at region.
func (s *session) libraryFor(p *inferior.Process, h *opened, region, near arch.Addr, by finding) (*library, error) {
	env, need := h.in.Maps.(*handler.Interpreted).Helpers(h.in.Verified, region)
	if s.opts.Resident && h.kind != "latency" && asksIDs(need) { // to latency any thread of that id will do
		return nil, errIDs
	}
	var err error
	switch by {
	case byLine:
		need = append(need, handler.ClaimLine)
		env.Self = true
		env.Lines, err = s.linesAt(p, near)
	case byStack:
		need = append(need, handler.TakeStack)
		if env.Lines, err = s.linesAt(p, near); err == nil {
			env.Stacks, err = s.stacks(p.Space)
		}
	}
	if err != nil {
		return nil, err
	}
	if env.Lines != 0 {
		env.Owners = s.counters[0].Owners(env.Lines)
	}
	return s.library(p, h, near, by, env, need)
}

// library gives the code that a handler calls, or that all do if there is none.
func (s *session) library(p *inferior.Process, of *opened, near arch.Addr, by finding, env helper.Env, need []compile.Helper) (*library, error) {
	for _, l := range s.libraries[p.Space] {
		if l.of == of && l.by == by && distance(l.at, near) < s.reach() {
			return l, nil
		}
	}
	if len(need) == 0 {
		return noLibrary, nil
	}
	var err error
	if env.Threads, err = s.threads(p.Space); err != nil {
		return nil, err
	}
	l := &library{of: of, by: by, at: near, templates: map[template]*compile.Template{}}
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
	return s.wiped(space, &space.Threads, helper.ThreadsSize)
}

// stacks gives the place of a space's stacks for threads, of which the first is
// for those that look for theirs.
func (s *session) stacks(space *inferior.Space) (arch.Addr, error) {
	return s.wiped(space, &space.Stacks, maps.Lines*compile.OwnStackSize)
}

// wiped maps memory in a space that a child begins with empty, unless it is there
// already.
func (s *session) wiped(space *inferior.Space, at *arch.Addr, size uint64) (arch.Addr, error) {
	if *at != 0 {
		return *at, nil
	}
	if len(s.regions[space]) == maxRegions {
		return 0, errManyRegions
	}
	size = (size + pageSize - 1) &^ (pageSize - 1)
	err := s.withTask(s.sharing(space), func(t *inferior.Task) error {
		addr, err := s.call(t, ptrace.SysMmap, 0, size, ptrace.ProtRW, ptrace.MapPrivateAnon, ^uint64(0), 0)
		if err != nil {
			return err
		}
		if _, err = s.call(t, ptrace.SysMadvise, addr, size, ptrace.WipeOnFork); err == nil {
			*at = arch.Addr(addr)
		}
		s.regions[space] = append(s.regions[space], region{addr: arch.Addr(addr), size: int(size)})
		return err
	})
	if err != nil {
		return 0, err
	}
	return *at, s.noteRegions(space)
}

// forgetThread takes from a space's table what it says of the thread that a new
// one has its pointer from.
func (s *session) forgetThread(t *inferior.Task) error {
	space := t.Process.Space
	if space.Threads == 0 {
		return nil
	}
	pointer, err := ptrace.ThreadPointer(t.TID)
	if err != nil || pointer == 0 {
		return err
	}
	var b [8]byte
	for _, off := range helper.ThreadSlots(pointer) {
		at := space.Threads + arch.Addr(off)
		if err := space.Memory.Read(at, b[:]); err != nil {
			return err
		}
		if le64(b[:]) == pointer {
			return space.Memory.Write(at+8, make([]byte, 8))
		}
	}
	return nil
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
