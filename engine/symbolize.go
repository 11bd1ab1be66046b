package engine

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/symbols"
)

// Symbolize implements Session.
func (s *session) Symbolize(pid int, addr arch.Addr) (sym Symbol, ok bool) {
	var m *symbols.Module
	s.look(func() { m = s.moduleAt(pid, addr) })
	if m == nil {
		return sym, false
	}
	sym = Symbol{Binary: m.Base(), Path: m.Path, BuildID: m.File.BuildID(), Start: m.Start, End: m.End, Offset: addr - m.Start}
	for _, r := range m.Ranges {
		if r.Contains(addr) {
			sym.Start, sym.End, sym.FileOffset = r.Start, r.End, r.Offset
			sym.Offset = addr - r.Start
		}
	}
	if fn, ok := m.File.FunctionAt(m.Vaddr(addr)); ok {
		sym.Function, sym.Offset = fn.Name, m.Vaddr(addr)-fn.Addr
	}
	return sym, true
}

// moduleAt is the object at an address: of the process as it is, or as it was
// last.
func (s *session) moduleAt(pid int, addr arch.Addr) *symbols.Module {
	if p := s.loop.Procs[pid]; p != nil {
		for _, m := range p.Modules {
			if at := m.At(addr); at != nil {
				return at
			}
		}
	}
	past := s.past[pid]
	for i := len(past) - 1; i >= 0; i-- {
		if at := past[i].At(addr); at != nil {
			return at
		}
	}
	return nil
}

// manyPast bounds what is remembered of one process: one that maps and unmaps
// libraries all the time.
const manyPast = 4096

// remember keeps the objects of a process that ends, or gets a new program.
func (s *session) remember(p *inferior.Process) {
	for _, m := range p.Modules {
		s.rememberModule(p.PID, m)
	}
}

func (s *session) rememberModule(pid int, m *symbols.Module) {
	if s.past != nil && len(s.past[pid]) < manyPast {
		s.past[pid] = append(s.past[pid], m)
	}
}
