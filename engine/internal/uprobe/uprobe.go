// Package uprobe serves probes by the kernel's uprobes, for handlers that run in the kernel. The
// kernel calls the handler without a stop; the session follows only which processes have uprobes.
package uprobe

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/watch"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
)

// Links has the uprobes of a session.
type Links struct {
	watch   *watch.Registers
	cut     []*kernel.Link // uprobes that Cut has taken from placements
	closing sync.WaitGroup // of uprobes that are being closed
}

// New returns a session's Links. There are none yet.
func New(w *watch.Registers) *Links { return &Links{watch: w} }

// errConditional says why the kernel does not serve an exit that is not taken at each hit.
var errConditional = errors.New("a jump that may leave the function or not: the kernel can't ask")

// ErrOccupied says that a trap of ptracer's lies at a place. The kernel would take the trap for its
// own, and the tracer would not be told of hits any more.
var ErrOccupied = errors.New("a probe that stops is there already: run the handler in the engine")

// kernelReason is shown as the reason of a placement that a uprobe serves: it has no method of
// ptracer's.
const kernelReason = "a uprobe of the kernel's"

// Plant attaches a handler in the kernel to a probe's targets, by uprobes of one process. A
// function's exits are uprobes at its return instructions. The kernel's own way changes return
// addresses on the stack, which Go programs and C++ exceptions do not survive. place is called with
// each placement.
func (l *Links) Plant(p *probe.Probe, proc *inferior.Process, spots []probe.Target, place func(*probe.Placement)) error {
	h := p.Handler
	spots = slices.DeleteFunc(spots, func(sp probe.Target) bool { // a uprobe is at a file's offset, in all mappings of it
		m := proc.ModuleAt(sp.Addr)
		return m != nil && m.Part
	})
	var errs []error
	for _, at := range p.Points() {
		for _, v := range h.Variants {
			errs = append(errs, l.attachVariant(p, proc, spots, at, v, place))
		}
	}
	return errors.Join(errs...)
}

// attachVariant attaches one program of a handler, compiled for one calling convention, to those of
// the targets that it is for.
func (l *Links) attachVariant(p *probe.Probe, proc *inferior.Process, spots []probe.Target, at build.Point, v *inproc.Variant, place func(*probe.Placement)) error {
	var places []*probe.Placement
	var locs []kernel.Location
	for _, sp := range spots {
		if sp.Point != at || sp.Run != v {
			continue
		}
		pl := sp.Placement(p, proc)
		pl.Why = kernelReason
		loc, err := l.kernelLocation(p, proc, sp)
		switch {
		case err != nil:
			pl.Err = err
		case sp.Exit != nil && sp.Exit.Tail && p.Handler.ReadsResult:
			continue // the function that it jumps to computes the result
		default:
			places, locs = append(places, pl), append(locs, loc)
		}
		place(pl)
	}
	if len(locs) == 0 {
		return nil
	}
	index := 0
	if at == build.Exit && v.In.Entry != nil {
		index = 1
	}
	return attachMost(places, locs, func(locs []kernel.Location) (*kernel.Link, error) {
		return v.Kernel.Attach(index, locs, kernel.Options{PID: proc.PID})
	})
}

// ErrInstruction says that the kernel has no uprobes on an instruction.
var ErrInstruction = errors.New("the kernel can't put a uprobe on this instruction")

// notSupp is the kernel's own ENOTSUPP, which package syscall does not have
// (include/linux/errno.h).
const notSupp = syscall.Errno(524)

// attachMost attaches uprobes at those of the places where the kernel can. The kernel refuses all
// of them for one that it cannot, and does not say which: so the list is halved until the one is
// found.
func attachMost(places []*probe.Placement, locs []kernel.Location, attach func([]kernel.Location) (*kernel.Link, error)) error {
	link, err := attach(locs)
	switch n := len(locs); {
	case err == nil:
		places[0].Link = link // one link is for all of them
		return nil
	case errors.Is(err, notSupp) && n > 1:
		err := attachMost(places[:n/2], locs[:n/2], attach)
		return errors.Join(err, attachMost(places[n/2:], locs[n/2:], attach))
	case errors.Is(err, notSupp):
		places[0].Err = ErrInstruction
		return nil
	}
	for _, pl := range places {
		pl.Err = err
	}
	return err
}

// kernelLocation returns a target as the kernel wants it: a file and an offset in it.
func (l *Links) kernelLocation(p *probe.Probe, proc *inferior.Process, sp probe.Target) (kernel.Location, error) {
	if sp.Exit != nil && !sp.Exit.Always {
		return kernel.Location{}, errConditional
	}
	if !kernel.CanProbe(sp.Orig) {
		return kernel.Location{}, ErrInstruction
	}
	if site := proc.Space.Table.At(sp.Addr); site != nil && site.Rung != breakpoint.Hardware {
		return kernel.Location{}, ErrOccupied
	}
	if ptrace.DebugBefore && l.watch.Code(proc, sp.Addr) { // see watch.ErrUprobe
		return kernel.Location{}, ErrOccupied
	}
	for _, m := range proc.Modules {
		for _, r := range m.Ranges {
			if r.Contains(sp.Addr) && r.Inode != 0 {
				return kernel.Location{Path: procfs.MapFile(proc.PID, r), Offset: uint64(sp.Addr-r.Start) + r.Offset, Cookie: p.Spec.Cookie}, nil
			}
		}
	}
	return kernel.Location{}, fmt.Errorf("%s: %w: the kernel puts probes into files only", sp.Addr, symbols.ErrNotFound)
}

// Cut takes a placement's uprobe from it. The kernel needs 0.1 s to close a uprobe, and no task
// should stand for that long: the caller of Take closes it, outside of pauses.
func (l *Links) Cut(pl *probe.Placement) {
	if pl.Link != nil {
		l.cut = append(l.cut, pl.Link)
		pl.Link = nil
	}
}

// Take returns the uprobes that Cut has taken from placements.
func (l *Links) Take() (list []*kernel.Link) {
	list, l.cut = l.cut, nil
	return list
}

// Close closes uprobes.
func Close(list []*kernel.Link) error {
	var errs []error
	for _, l := range list {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// CloseLater closes, in the background, the uprobes of processes that have ended or are let go. The
// session does not end before that is done (Wait).
func (l *Links) CloseLater() {
	if list := l.Take(); len(list) > 0 {
		l.closing.Go(func() { _ = Close(list) })
	}
}

// Wait returns when all uprobes of CloseLater are closed.
func (l *Links) Wait() { l.closing.Wait() }
