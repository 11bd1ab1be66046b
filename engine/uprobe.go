package engine

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/symbols"
)

// errConditional is of an exit that is one only sometimes.
var errConditional = errors.New("a jump that may leave the function or not: the kernel can't ask")

// kernelReason is why there is no rung: the kernel has its own.
const kernelReason = "a uprobe of the kernel's"

// plantKernel attaches a handler in the kernel, by uprobes of one process. Where
// a function returns they are at its own returns: the kernel's way, to change
// return addresses on the stack, is not survived by Go programs, nor by C++
// exceptions.
func (s *session) plantKernel(p *probe, proc *inferior.Process, spots []spot) error {
	h := p.spec.Handler
	var errs []error
	for _, at := range p.points() {
		var places []*placement
		var locs []kernel.Location
		for _, sp := range spots {
			if sp.point != at {
				continue
			}
			pl := &placement{probe: p, proc: proc, name: sp.name, addr: sp.addr, exit: sp.exit, why: kernelReason, point: at, second: sp.second}
			loc, err := s.kernelLocation(p, proc, sp)
			switch {
			case err != nil:
				pl.err = err
			case sp.exit != nil && sp.exit.tail && h.result:
				continue // the result is not there yet
			default:
				places, locs = append(places, pl), append(locs, loc)
			}
			s.place(pl)
		}
		if len(locs) == 0 {
			continue
		}
		index := 0
		if at == build.Exit && h.in.Entry != nil {
			index = 1
		}
		link, err := h.kernel.Attach(index, locs, kernel.Options{PID: proc.PID})
		for i, pl := range places {
			if pl.err = err; err == nil && i == 0 {
				pl.link = link // the others go with it
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// kernelLocation is a place as the kernel wants it: a file, and an offset in it.
func (s *session) kernelLocation(p *probe, proc *inferior.Process, sp spot) (kernel.Location, error) {
	if sp.exit != nil && !sp.exit.always {
		return kernel.Location{}, errConditional
	}
	for _, m := range proc.Modules {
		for _, r := range m.Ranges {
			if r.Contains(sp.addr) && r.Inode != 0 {
				return kernel.Location{Path: mappedPath(proc.PID, r), Offset: uint64(sp.addr-r.Start) + r.Offset, Cookie: p.spec.Cookie}, nil
			}
		}
	}
	return kernel.Location{}, fmt.Errorf("%s: %w: the kernel puts probes into files only", sp.addr, symbols.ErrNotFound)
}

// mappedPath names the very file that a process has mapped.
func mappedPath(pid int, r symbols.Mapping) string {
	return fmt.Sprintf("/proc/%d/map_files/%x-%x", pid, uint64(r.Start), uint64(r.End))
}

// unlink takes a uprobe away.
func (pl *placement) unlink() error {
	if pl.link == nil {
		return nil
	}
	err := pl.link.Close()
	pl.link = nil
	return err
}

// unlinkAll takes the uprobes of a handler away. After the session's end there
// are none.
func (s *session) unlinkAll(h *Handler) error {
	if h.kernel == nil {
		return nil
	}
	err := s.do(func() error {
		var errs []error
		for _, p := range s.probes {
			for _, pl := range p.places {
				if p.spec.Handler == h {
					errs = append(errs, pl.unlink())
				}
			}
		}
		return errors.Join(errs...)
	})
	if err == ErrEnded {
		return nil
	}
	return err
}

// inheritKernel gives a forked child uprobes of its own: the kernel's are for
// one process.
func (s *session) inheritKernel(parent, child *inferior.Process) {
	if child.Leaving {
		return
	}
	for _, p := range s.probes {
		if h := p.spec.Handler; h == nil || h.kernel == nil || p.gone || p.spec.PID == parent.PID {
			continue
		}
		if err := s.plant(p, child, s.modules(child)); err != nil {
			s.warn(child, "%s: %v", p.spec.Location, err)
		}
	}
}
