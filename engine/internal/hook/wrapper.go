package hook

import (
	"encoding/binary"
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// A gate in libc's syscall(). The function makes any system call: the number is an argument.
// Programs call it often (Rust's locks do), but hardly ever for rt_sigaction. The gate before its
// system call instruction is a jump to code that looks at number and signal. It sends a call about
// SIGTRAP aside, to a copy of the function's last instructions, which has a site. All other calls
// are made where the program has them, since tasks may wait in them without end. Where the gate
// can't be a jump, it is a trap.

// wrapper is the code of such a function in its object: where the gate lies, the call, and what
// comes behind it.
type wrapper struct {
	from, call, behind arch.Addr
	run                []arch.Inst // the instructions from the gate to the call, inclusive
	code               []byte      // the bytes from there on
}

// wrapperIn finds the syscall() of an object.
func (h *Hooks) wrapperIn(m *symbols.Module) (w wrapper, ok bool) {
	fns, err := m.File.Lookup("syscall")
	if err != nil || len(fns) == 0 || m.File.IsGo() {
		return w, false
	}
	const most = 256 // bytes up to the call
	fn := fns[0]
	code := make([]byte, min(most, fn.Size))
	if m.File.Text(fn.Addr, code) != nil {
		return w, false
	}
	var list []arch.Inst
	takes := false
	for at, rest := fn.Addr, code; len(rest) > 0; {
		inst, err := h.isa.Decode(rest, at)
		if err != nil || inst.Len > len(rest) {
			return w, false
		}
		takes = takes || h.isa.TakesNumber(rest)
		list = append(list, inst)
		switch inst.Kind {
		case arch.KindSyscall:
			w = h.gatePlace(fn.Addr, code, list, at)
			return w, takes && w.run != nil
		case arch.KindOther, arch.KindNop:
		default:
			return w, false
		}
		at, rest = at+arch.Addr(inst.Len), rest[inst.Len:]
	}
	return w, false
}

// gatePlace returns the wrapper with a gate that displaces the last instructions before the call
// that have room for a jump.
func (h *Hooks) gatePlace(base arch.Addr, code []byte, list []arch.Inst, call arch.Addr) wrapper {
	from := call
	for i := len(list) - 2; i >= 0; i-- {
		if from -= arch.Addr(list[i].Len); call-from >= arch.Addr(h.isa.JumpLen()) {
			return wrapper{from: from, call: call, behind: call + arch.Addr(list[len(list)-1].Len), run: list[i:], code: code[from-base:]}
		}
	}
	return wrapper{}
}

// HookWrapper plants the gate, after the copy with its site.
func (h *Hooks) HookWrapper(p *inferior.Process, m *symbols.Module) error {
	w, ok := h.wrapperIn(m)
	from := m.Bias + w.from
	if !ok || h.Hooked(p, from) {
		return nil
	}
	name := m.Base() + ":syscall"
	aside, call, err := h.mapAside(p, m.Bias, w)
	if err != nil {
		return err
	}
	behind := m.Bias + w.behind
	err = h.Hook(p, []probe.Target{probe.At(call, nil, name)}, func(t *inferior.Task, _ *breakpoint.Site) (bool, error) {
		return h.guard.Answer(t, behind)
	})
	if err != nil {
		return err
	}
	sites, errs := h.Insert(p, []breakpoint.Want{{Addr: from, Orig: w.code[:min(len(w.code), h.isa.MaxInst())]}})
	if site := sites[0]; site != nil {
		probe.Of(site).Add(&probe.Placement{Proc: p, Place: probe.Place{Name: name, Addr: from}, Hook: goesAside(h, aside), Behind: behind, Aside: aside,
			Site: site, Rung: site.Rung})
		h.jump.AddNear(p, site)
	}
	return errs[0]
}

// goesAside returns the hook of such a gate that is still a trap.
func goesAside(s *Hooks, aside arch.Addr) probe.Hook {
	return func(t *inferior.Task, _ *breakpoint.Site) (bool, error) {
		r, err := t.Regs()
		if err != nil || ptrace.NumberOf(r) != ptrace.SysRtSigaction || ptrace.Signo(ptrace.SyscallArgs(r)[0]) != ptrace.SIGTRAP {
			return false, err
		}
		t.SetPC(aside)
		return true, s.loop.Resume(t, 0)
	}
}

// mapAside maps the copy of a wrapper's last instructions near it. It returns where the copy is,
// and where the call lies in it.
func (h *Hooks) mapAside(p *inferior.Process, bias arch.Addr, w wrapper) (at, call arch.Addr, err error) {
	space := p.Space
	if h.inproc.Full(space) {
		return 0, 0, inproc.ErrManyRegions
	}
	if at, err = h.remote.Room(space).Map(bias+w.from, inferior.PageSize); err != nil {
		return 0, 0, err
	}
	var b arch.Buffer
	b.Reset(at)
	_, err = h.isa.RelocateRun(&b, w.code, bias+w.from, w.run, func(i int) error {
		if i == len(w.run)-1 {
			call = b.PC()
		}
		return nil
	})
	if err == nil { // in one write: a tracer that finds the page knows it by its mark
		page := make([]byte, inferior.PageSize)
		copy(page, b.Code)
		binary.LittleEndian.PutUint64(page[inferior.PageMagic.At:], guard.AsideMagic)
		err = space.Memory.Write(at, page)
	}
	return at, call, errors.Join(err, h.inproc.AddRegion(space, inproc.Region{Addr: at, Size: inferior.PageSize}))
}
