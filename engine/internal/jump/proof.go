package jump

import (
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/symbols"
)

// Where a jump may lie: the proof that nothing leads into its middle.

// findRoom finds where a site's jump can lie, and where what it displaces ends. The jump lies at
// the site, or before it, if the instructions there lead to the site and have room that the site
// has not.
func (j *Jumps) findRoom(p *inferior.Process, m *symbols.Module, site *breakpoint.Site) (from, end arch.Addr, err error) {
	oneEach := j.isa.JumpLen() == j.isa.MinInst()
	if at, ok := stackCheck(site); ok && !oneEach { // no goroutine is parked in a stack check (mayPark)
		if end, err := j.proveBefore(p, m, at, site); err == nil {
			return at, end, nil
		}
	}
	end, err = j.proveJump(p, m, site.Addr, site, p.Space.Table.CodeAt(site))
	if err == nil || probe.Of(site).List[0].Begins != 0 || m == nil || oneEach {
		return site.Addr, end, err
	}
	for _, at := range m.File.Block(j.isa, site.Addr-m.Bias, breakpoint.MaxBack) {
		from := at + m.Bias
		if int(site.End()-from) < j.isa.JumpLen() {
			continue
		}
		if end, err2 := j.proveBefore(p, m, from, site); err2 == nil {
			return from, end, nil
		}
		break // the reason holds for places further back, too
	}
	return 0, 0, err
}

// stackCheck returns where Go's stack check before a site begins, if there is one near enough.
func stackCheck(site *breakpoint.Site) (arch.Addr, bool) {
	for _, pl := range probe.Of(site).List {
		if pl.Begins != 0 {
			return pl.Begins, pl.Begins != site.Addr && site.Addr-pl.Begins <= breakpoint.MaxBack
		}
	}
	return 0, false
}

// proveBefore is proveJump for a jump that begins before its site.
func (j *Jumps) proveBefore(p *inferior.Process, m *symbols.Module, from arch.Addr, site *breakpoint.Site) (end arch.Addr, err error) {
	code := make([]byte, int(site.End()-from))
	if err := p.Space.Table.ReadOriginal(from, code); err != nil {
		return 0, err
	}
	return j.proveJump(p, m, from, site, code)
}

// proveJump proves that nothing leads into the middle of what a jump at from displaces, up to the
// site's instruction. It returns where that ends.
func (j *Jumps) proveJump(p *inferior.Process, m *symbols.Module, from arch.Addr, site *breakpoint.Site, code []byte) (end arch.Addr, err error) {
	n := max(j.isa.JumpLen(), int(site.Addr-from)+1)
	insts, err := j.isa.Run(code, from, n)
	if err != nil {
		return 0, err
	}
	end = from
	for _, in := range insts {
		n = max(n, int(end-from)+1) // an arm64 landing pad takes the next instruction with it
		end += arch.Addr(in.Len)
	}
	isGo := m != nil && m.File.IsGo()
	// A fault is shown at the program's own instruction. The signal's handler may go on
	// there, in the middle of the jump; then the tracer helps (hit.FaultInside). Where no
	// tracer may be there (Go's runtime knows its own code only, and resident probes have
	// no tracer), only the first instruction that does anything may fault, as behind a trap:
	// the stack pointer is still the function's own, and Go takes the fault for one of the
	// caller's (DECISIONS.md, "Instructions behind the first that may fault"). Go never has
	// a pointer to something of which only a part is there (Follows).
	may := insts
	if from == site.Addr {
		may = behindFirst(insts)
	} else if at, ok := stackCheck(site); ok && from == at {
		may = behind(insts, int(site.Addr-from)) // the stack check only reads the g, which is always there
	}
	switch {
	case p.Space.Dispatches && slices.ContainsFunc(insts, func(in arch.Inst) bool { return in.Kind == arch.KindSyscall }):
		return 0, errCallInside
	case (isGo || j.inproc.Resident) && slices.ContainsFunc(may, func(in arch.Inst) bool { return in.Faults && !(isGo && in.Follows) }):
		return 0, errFaults
	case isGo && len(insts) > 1 && insts[0].Kind == arch.KindNop && insts[1].Kind == arch.KindCall:
		return 0, errGoNop // runtime.goexit, also where no symbol names it
	case m == nil && len(insts) == 1 && j.isa.MinInst() == 4:
		return end, nil
	case m == nil:
		return 0, symbols.ErrNoFunc
	}
	at := from - m.Bias
	if j.isa.MinInst() == 4 {
		return end, m.File.Undisturbed(j.isa, at, n, nil) // no computed jump leads there: see arch.ISA.Run
	}
	var inner []arch.Addr
	for _, in := range insts[:len(insts)-1] {
		at += arch.Addr(in.Len)
		inner = append(inner, at)
	}
	return end, m.File.Undisturbed(j.isa, from-m.Bias, n, inner)
}

// behindFirst returns the instructions behind the first that does anything.
func behindFirst(insts []arch.Inst) []arch.Inst {
	first := slices.IndexFunc(insts, func(in arch.Inst) bool { return in.Kind != arch.KindNop })
	if first < 0 {
		return nil
	}
	return insts[first+1:]
}

// behind returns the instructions behind the first n bytes.
func behind(insts []arch.Inst, n int) []arch.Inst {
	for n > 0 && len(insts) > 0 {
		n -= insts[0].Len
		insts = insts[1:]
	}
	return insts
}

// continues reports whether the start of a function is also in the middle of another.
func (j *Jumps) continues(m *symbols.Module, site arch.Addr) bool {
	fn, ok := m.File.FunctionAt(site - m.Bias)
	return !ok || m.File.Continues(j.isa, fn)
}
