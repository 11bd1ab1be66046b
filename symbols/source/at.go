package source

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/dwarf/line"
)

// At returns the file and the line of an instruction; ok is false if nothing is known of it.
func (s *Source) At(addr arch.Addr) (p Place, ok bool, err error) {
	u, err := s.d.UnitOf(uint64(addr))
	if u == nil || err != nil {
		return p, false, err
	}
	t, err := u.Lines()
	if t == nil || err != nil {
		return p, false, err
	}
	dir := u.Dir()
	var last line.Row
	inside := false // last is of the same sequence
	err = t.Rows(func(r *line.Row) bool {
		if inside && last.Addr <= uint64(addr) && uint64(addr) < r.Addr {
			p = Place{Addr: addr, File: t.File(last.File, dir), Line: last.Line, Column: last.Column}
			ok = true
			return false
		}
		last, inside = *r, !r.End
		return true
	})
	return p, ok, err
}
