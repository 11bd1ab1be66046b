package inproc

import (
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

// Helpers in the program. The code that handlers behind jumps call lies in a library, once in a
// space for each handler. The table of threads, by which helpers know ids without asking the
// kernel, lies there once for all handlers.

// Library is the code that a handler calls in a space. It is empty for a handler that calls
// nothing.
type Library struct {
	of  *Variant  // the handler; nil: it is for all
	own Own       // what it needs threads to have
	at  arch.Addr // the address near which it was wanted
	*helper.Library
	// templates are the compiled programs that call it, by program and region of the maps.
	templates map[template]*compile.Template
}

type template struct {
	program *verify.Result
	region  arch.Addr
}

// Template returns the template of a program that calls the library, on the maps at region.
func (l *Library) Template(program *verify.Result, region arch.Addr) *compile.Template {
	key := template{program, region}
	if l.templates[key] == nil {
		l.templates[key] = &compile.Template{}
	}
	return l.templates[key]
}

// errIDs says why a resident probe's handler may not ask for thread ids: no tracer sees threads
// come and go.
var errIDs = failure.Unsupportedf("it reports thread ids, which are only kept right while a tracer is attached")

// LibraryFor returns the library of a handler's variant in a process's space, near an address, and
// puts it there first if it is not there. region is where the handler's maps lie. The error is
// errIDs or errSealed if the handler may not run in the program.
func (x *InProcess) LibraryFor(p *inferior.Process, h *Handler, v *Variant, region, near arch.Addr, own Own) (*Library, error) {
	env, need := v.In.Maps.(*handler.Interpreted).Helpers(v.In.Verified, region)
	if x.Resident && h.Kind != "latency" && asksIDs(need) { // latency needs only a number that tells threads apart
		return nil, errIDs
	}
	if x.wouldAsk(p, h, need) && (p.Space.Dispatches || x.seal(p) != 0) || takesTime(need) && (x.noTime(p) || x.seal(p) == sealStrict) {
		return nil, errSealed
	}
	var err error
	switch own {
	case OwnThreadSlot:
		need = append(need, handler.ClaimSlot)
		env.Self = true
		env.Slots, err = x.threadSlotsAt(p, near)
	case OwnStack:
		need = append(need, handler.TakeStack)
		if env.Stacks, err = x.stacks(p.Space); err == nil {
			env.Slots, err = x.threadSlotsAt(p, near)
		}
	}
	if err != nil {
		return nil, err
	}
	switch env.Lost = env.Slots + maps.OffLost; {
	case !x.TakeThreadSlots():
		env.Slots = 0
	case env.Slots != 0:
		env.Owners = x.counters[0].Owners(env.Slots)
	}
	return x.Library(p, v, near, own, env, need)
}

// Library returns a library in a process's space near an address, and puts it there first if it is
// not there. With of nil it is for all handlers.
func (x *InProcess) Library(p *inferior.Process, of *Variant, near arch.Addr, own Own, env helper.Env, need []compile.Helper) (*Library, error) {
	for _, l := range x.libraries[p.Space] {
		if l.of == of && l.own == own && distance(l.at, near) < x.remote.Reach() {
			return l, nil
		}
	}
	l := &Library{of: of, own: own, at: near, Library: &helper.Library{}, templates: map[template]*compile.Template{}}
	if len(need) == 0 {
		x.libraries[p.Space] = append(x.libraries[p.Space], l)
		return l, nil
	}
	var err error
	if env.Threads, err = x.threads(p.Space); err != nil {
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
	x.libraries[p.Space] = append(x.libraries[p.Space], l)
	return l, nil
}

// stacks returns where a space's stacks for handlers lie, and maps them first if they are not
// there. If threads have slots, each slot has a stack, and the first is for threads that look for
// their own; else the stacks are a pool.
func (x *InProcess) stacks(space *inferior.Space) (arch.Addr, error) {
	if x.TakeThreadSlots() {
		return x.wiped(space, &space.Stacks, maps.Slots*compile.OwnStackSize, compile.OwnStackSize)
	}
	const pool = compile.PoolStacks * compile.PoolStack
	return x.wiped(space, &space.Stacks, pool, pool)
}

// wiped maps memory in a space that a forked child gets empty, at a multiple of align, unless it is
// there already.
func (x *InProcess) wiped(space *inferior.Space, at *arch.Addr, size, align uint64) (arch.Addr, error) {
	if *at != 0 {
		return *at, nil
	}
	if x.Full(space) {
		return 0, ErrManyRegions
	}
	size = (size+inferior.PageSize-1)&^(inferior.PageSize-1) + align - inferior.PageSize
	err := x.remote.WithTask(x.loop.Sharing(space), func(t *inferior.Task) error {
		addr, err := x.remote.MapNear(t, space.Table.GuardHeader(), int(size), remote.Anonymous)
		if err != nil {
			return err
		}
		if err := x.AddRegion(space, Region{Addr: addr, Size: int(size)}); err != nil {
			return err
		}
		if _, err = x.remote.Call(t, ptrace.SysMadvise, uint64(addr), size, ptrace.WipeOnFork); err == nil {
			*at = (addr + arch.Addr(align) - 1) &^ (arch.Addr(align) - 1)
		}
		return err
	})
	return *at, err
}

// asksIDs reports whether a handler's code asks for thread ids, which the table of threads has.
func asksIDs(need []compile.Helper) bool {
	return slices.ContainsFunc(need, func(h compile.Helper) bool {
		switch h.Num {
		case program.FnCurrentPIDTGID, program.FnRingbufReserve, program.FnRingbufOutput, program.FnPerfEventOutput:
			return true
		}
		return false
	})
}

// threadSlotsAt returns where a process has the set that says which slot is free: the first counters.
func (x *InProcess) threadSlotsAt(p *inferior.Process, near arch.Addr) (arch.Addr, error) {
	if len(x.counters) == 0 { // the first code may be one that counts nothing, as at the end of calls
		if err := x.moreCounters(); err != nil {
			return 0, err
		}
	}
	return x.Share(p, x.counters[0].Set(), near)
}

// ClaimFor returns the library by which threads take their slots.
func (x *InProcess) ClaimFor(p *inferior.Process, near arch.Addr) (*Library, error) {
	slots, err := x.threadSlotsAt(p, near)
	if err != nil {
		return nil, err
	}
	env, need := x.counters[0].Claim(slots)
	return x.Library(p, nil, near, OwnThreadSlot, env, need)
}
