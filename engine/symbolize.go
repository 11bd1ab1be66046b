package engine

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
)

// Symbolize implements Session.
func (s *session) Symbolize(pid int, addr arch.Addr) (sym Symbol, ok bool) {
	var m *symbols.Module
	s.look(func() { m = s.objects.At(pid, addr) })
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
