// Package uprobe has the kernel's uprobes serve probes whose handlers run in the kernel.
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

// Links are the uprobes of a session.
type Links struct {
	watch   *watch.Registers
	cut     []*kernel.Link // see Cut
	closing sync.WaitGroup // of those that are being taken away
}

// New is a session's, which has none.
func New(w *watch.Registers) *Links { return &Links{watch: w} }

// errConditional is of an exit that is one only sometimes.
var errConditional = errors.New("a jump that may leave the function or not: the kernel can't ask")

// ErrOccupied is of a place with a trap of ours: the kernel would take it for its
// own, and we would not hear of its hits any more.
var ErrOccupied = errors.New("a probe that stops is there already: run the handler in the engine")

// kernelReason is why there is no rung: the kernel has its own.
const kernelReason = "a uprobe of the kernel's"

// Plant attaches a handler in the kernel, by uprobes of one process. Where
// a function returns they are at its own returns: the kernel's way, to change
// return addresses on the stack, is not survived by Go programs, nor by C++
// exceptions. Each placement is given to place.
func (l *Links) Plant(p *probe.Probe, proc *inferior.Process, spots []probe.Target, place func(*probe.Placement)) error {
	h := p.Handler
	spots = slices.DeleteFunc(spots, func(sp probe.Target) bool { // the kernel's probes are at what all mappings of a file show
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

// attachVariant attaches one of a handler's programs, as functions of one convention run
// it, to those of the spots that are for it.
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
			continue // the result is not there yet
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

// ErrInstruction is of a place where the kernel has no uprobe.
var ErrInstruction = errors.New("the kernel can't put a uprobe on this instruction")

// notSupp is the kernel's own ENOTSUPP, which libraries do not know
// (include/linux/errno.h).
const notSupp = syscall.Errno(524)

// attachMost attaches uprobes to those of the places where the kernel can have
// one: it refuses all for the sake of one, and does not say which.
func attachMost(places []*probe.Placement, locs []kernel.Location, attach func([]kernel.Location) (*kernel.Link, error)) error {
	link, err := attach(locs)
	switch n := len(locs); {
	case err == nil:
		places[0].Link = link // the others go with it
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

// kernelLocation is a place as the kernel wants it: a file, and an offset in it.
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
	if ptrace.DebugBefore && l.watch.Code(proc, sp.Addr) { // see errUprobe
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

// Cut takes a placement's uprobe from it. To take it away takes the kernel 0.1
// s, for which nobody shall wait who has tasks stopped: that is for whoever calls
// links next.
func (l *Links) Cut(pl *probe.Placement) {
	if pl.Link != nil {
		l.cut = append(l.cut, pl.Link)
		pl.Link = nil
	}
}

// Take are the uprobes that were taken from placements, to be taken away.
func (l *Links) Take() (list []*kernel.Link) {
	list, l.cut = l.cut, nil
	return list
}

// Close takes uprobes away.
func Close(list []*kernel.Link) error {
	var errs []error
	for _, l := range list {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// CloseLater takes away the uprobes of processes that are gone or let go. The
// session is not over before that is done.
func (l *Links) CloseLater() {
	if list := l.Take(); len(list) > 0 {
		l.closing.Go(func() { _ = Close(list) })
	}
}

// Wait returns when these are away.
func (l *Links) Wait() { l.closing.Wait() }
