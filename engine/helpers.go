package engine

import (
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/helper"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Helpers in the program: the code that handlers behind jumps call lies once in a
// space for each handler, and the table of threads, by which they tell ids without
// asking the kernel, once for all.

// library is the code that a handler calls in a space.
type library struct {
	of    *opened   // nil: all
	lined bool      // threads find their lines by it
	at    arch.Addr // where it was wanted
	*helper.Library
}

var noLibrary = &helper.Library{}

// errIDs is of resident probes: nobody sees threads come and go.
var errIDs = fmt.Errorf("%w: it tells threads' ids, which nobody keeps right without a tracer", breakpoint.ErrUnsupported)

// libraryFor gives the code of a handler's helpers in a process's space, and puts it
// there first if it is not there. Its maps are at region; lined is for code whose
// threads take lines.
func (s *session) libraryFor(p *inferior.Process, h *opened, region, near arch.Addr, lined bool) (*helper.Library, error) {
	env, need := h.in.Maps.(*handler.Interpreted).Helpers(h.in.Verified, region)
	if s.opts.Resident && h.kind != "latency" && asksIDs(need) { // to latency any thread of that id will do
		return nil, errIDs
	}
	if lined {
		var err error
		if env.Lines, err = s.linesAt(p, near); err != nil {
			return nil, err
		}
		env.Self, need = true, append(need, handler.ClaimLine)
	}
	return s.library(p, h, near, env, need)
}

// library gives the code that a handler calls, or that all do if there is none.
func (s *session) library(p *inferior.Process, of *opened, near arch.Addr, env helper.Env, need []compile.Helper) (*helper.Library, error) {
	for _, l := range s.libraries[p.Space] {
		if l.of == of && l.lined == env.Self && distance(l.at, near) < s.reach() {
			return l.Library, nil
		}
	}
	if len(need) == 0 {
		return noLibrary, nil
	}
	var err error
	if env.Threads, err = s.threads(p.Space); err != nil {
		return nil, err
	}
	l := library{of: of, lined: env.Self, at: near}
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
	return l.Library, nil
}

// threads gives the place of a space's table of threads, and maps it first if it
// is not there.
func (s *session) threads(space *inferior.Space) (arch.Addr, error) {
	if space.Threads != 0 {
		return space.Threads, nil
	}
	if len(s.regions[space]) == maxRegions {
		return 0, errManyRegions
	}
	const size = (helper.ThreadsSize + pageSize - 1) &^ (pageSize - 1)
	err := s.withTask(s.sharing(space), func(t *inferior.Task) error {
		at, err := s.call(t, ptrace.SysMmap, 0, size, ptrace.ProtRW, ptrace.MapPrivateAnon, ^uint64(0), 0)
		if err != nil {
			return err
		}
		if _, err = s.call(t, ptrace.SysMadvise, at, size, ptrace.WipeOnFork); err == nil {
			space.Threads = arch.Addr(at)
		}
		s.regions[space] = append(s.regions[space], region{addr: arch.Addr(at), size: size})
		return err
	})
	if err != nil {
		return 0, err
	}
	return space.Threads, s.noteRegions(space)
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
