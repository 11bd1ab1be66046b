package jump

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/helper"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// gateCode writes what a gate does.
func gateCode(isa arch.ISA, b *arch.Buffer, gate *probe.Placement, p *inferior.Process) error {
	if gate.Aside != 0 {
		return isa.WrapperGate(b, gate.Aside)
	}
	return isa.SigactionGate(b, gate.Behind, p.PID)
}

// The code of a trampoline: what a site's placements do.

// codeOf returns a function that writes what a site's placements do, in front of the displaced
// instructions.
func (j *Jumps) codeOf(p *inferior.Process, m *symbols.Module, site *breakpoint.Site) (func(*arch.Buffer) ([]arch.Fix, error), error) {
	list := probe.Of(site).List
	gate := probe.GateOf(site)
	if gate != nil && len(list) == 1 {
		return func(b *arch.Buffer) ([]arch.Fix, error) { return nil, gateCode(j.isa, b, gate, p) }, nil
	}
	way, err := j.wayAt(m, site)
	if err != nil {
		return nil, err
	}
	var always, sometimes []handler.Piece
	var inside [][2]arch.Addr
	counted := map[*inproc.Tally]bool{}
	for _, pl := range list {
		if pl == gate {
			continue
		}
		ps, err := j.pieces(p, m, pl, way, counted)
		if err != nil {
			return nil, err
		}
		if pl.Sometimes() {
			sometimes, inside = append(sometimes, ps...), pl.Exit.Ranges
		} else {
			always = append(always, ps...)
		}
	}
	return func(b *arch.Buffer) ([]arch.Fix, error) {
		if len(always) > 0 {
			code, err := handler.Native(always, b.PC())
			if b.Bytes(code...); err != nil {
				return nil, err
			}
		}
		if gate != nil {
			return nil, gateCode(j.isa, b, gate, p)
		}
		if len(sometimes) == 0 {
			return nil, nil
		}
		return j.whenLeaving(b, site, inside, sometimes)
	}, nil
}

// wayAt returns how code has to run at a site: which flags it keeps, and which stack it uses.
func (j *Jumps) wayAt(m *symbols.Module, site *breakpoint.Site) (compile.Way, error) {
	way := compile.Way{Flags: true, Skip: redZone, PC: site.Addr}
	var start, flags, exit, sometimes bool
	for _, pl := range probe.Of(site).List {
		start, flags, exit, sometimes = start || pl.Begins != 0, flags || pl.Flags, exit || pl.Exit != nil, sometimes || pl.Sometimes()
	}
	if start {
		way.Flags = flags || m == nil || j.continues(m, site.Addr) // no calling convention passes flags to a function
	}
	if m == nil || !m.File.IsGo() {
		return way, nil
	}
	switch {
	case !start && !exit:
		return way, errGoMiddle
	case sometimes && site.Inst.Kind == arch.KindJumpIndirect:
		return way, errExit // the test needs more stack than there may be
	}
	way.Stack, way.Skip = GoStack, goSkip
	return way, nil
}

// whenLeaving writes pieces that run only when the displaced jump leaves its function. The length
// of the test does not depend on how much it skips.
func (j *Jumps) whenLeaving(b *arch.Buffer, site *breakpoint.Site, inside [][2]arch.Addr, pieces []handler.Piece) ([]arch.Fix, error) {
	start := len(b.Code)
	if _, err := j.isa.Leaves(b, site.Code(), site.Addr, inside, 0); err != nil {
		return nil, err
	}
	code, err := handler.Native(pieces, b.PC())
	if err != nil {
		return nil, err
	}
	b.Code = b.Code[:start]
	fixes, err := j.isa.Leaves(b, site.Code(), site.Addr, inside, len(code))
	b.Bytes(code...)
	return fixes, err
}

// redZone is how many bytes below its stack pointer a function may use: 128 on amd64 (System V
// ABI). On arm64 Go keeps the frame pointer in 16.
var redZone = map[bool]int{true: 128, false: 16}[ptrace.OnePC]

// GoStack is how many bytes of a goroutine's stack a trampoline may use: functions may begin and
// end with next to none left. Nothing of the program's lies below the stack pointer there, except
// arm64's frame pointer.
const GoStack = 64

var goSkip = map[bool]int{true: 0, false: 16}[ptrace.OnePC]

// pieces returns the programs that a placement runs: its counter, unless another placement counts
// in it already or a hit there is not one more, and its handler.
func (j *Jumps) pieces(p *inferior.Process, m *symbols.Module, pl *probe.Placement, way compile.Way, counted map[*inproc.Tally]bool) (list []handler.Piece, err error) {
	if pl.Counter.In == nil && !pl.Second {
		if err := j.newCounter(pl); err != nil {
			return nil, err
		}
	}
	way.Cookie, way.FuncIP = pl.Probe.Spec.Cookie, uint64(pl.Addr)
	h := pl.Probe.Handler
	add := func(r *verify.Result, set *maps.Set, moved int, v *inproc.Variant) error {
		at, err := j.inproc.Share(p, set, pl.Addr)
		if err != nil {
			return err
		}
		var lib *inproc.Library
		own := j.inproc.OwnAt(p, m, way, v != nil)
		switch {
		case v != nil:
			lib, err = j.inproc.LibraryFor(p, h, v, at, pl.Addr, own)
		case own == inproc.OwnThreadSlot:
			lib, err = j.inproc.ClaimFor(p, pl.Addr)
		default:
			lib, err = j.inproc.Library(p, nil, pl.Addr, own, helper.Env{}, nil)
		}
		if err != nil {
			return err
		}
		way.Helpers = lib.Stack
		piece := handler.Piece{Program: r, Set: set, Region: at, Way: way, Helpers: lib.At, Moved: moved, Template: lib.Template(r, at)}
		switch own {
		case inproc.OwnThreadSlot:
			piece.Threads = p.Space.Threads
		case inproc.OwnStack:
			piece.Way.Own = compile.OwnStack{Threads: p.Space.Threads, Pool: p.Space.Stacks, Enter: lib.At[handler.TakeStack]}
		}
		list = append(list, piece)
		return nil
	}
	if c := pl.Counter.In; c != nil && !counted[c] {
		counted[c] = true
		count, err := c.Of.Program()
		if err == nil {
			err = add(count, c.Of.Set(), c.Of.Moved(c.N), nil)
		}
		if err != nil {
			return list, err
		}
	}
	if h == nil || h.Shut || pl.Exit != nil && pl.Exit.Tail && h.ReadsResult {
		return list, err
	}
	return list, add(pl.Run.In.At(pl.Point), pl.Run.In.Maps.(*handler.Interpreted).Set, 0, pl.Run)
}
