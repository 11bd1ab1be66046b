package breakpoint

import (
	"errors"
	"maps"
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// A pun of one byte leads to one place only. Reserve maps these places for many puns at once,
// before they are planned: functions that begin alike lead to places as far from each other as the
// functions are, so that they share pages.

// maxReserved is how many mappings for veneers there may be before Reserve makes no more: each fork
// of the program copies them all.
const maxReserved = 128

// batchPuns is how many mappings one task makes while it is halted.
const batchPuns = 32

// Reserve maps what sites need to be puns of one byte, in the order of sites, and then the places
// of their strays. A site is skipped if there is no room for it. An error means that the space is
// gone, or that no task of it may make system calls.
func (t *Table) Reserve(sites []*Site) error {
	set := pageSet{has: map[arch.Addr]bool{}}
	for _, l := range t.libs {
		if l.puns {
			set.add(l)
		}
	}
	have := maps.Clone(set.has)
	var strays []arch.Addr
	for _, s := range sites {
		code, n := t.CodeAt(s), t.isa.JumpLen()
		if len(code) < n {
			continue
		}
		if lo, _, ok := t.isa.Puns(code[:n], s.Addr, 1); ok && set.addUpTo(t.veneerPages(lo), maxReserved) {
			strays = append(strays, t.strays(code, code[:n], s.Addr)...)
		}
	}
	for _, to := range strays {
		set.addUpTo(t.veneerPages(to), maxReserved)
	}
	todo := set.without(have)
	for len(todo) > 0 {
		err := t.mapper.Batch(func() (err error) {
			for n := 0; n < batchPuns && len(todo) > 0 && err == nil; n++ {
				todo, err = t.mapFirst(todo)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Reserved reports whether the target of a one-byte pun at a site is mapped.
func (t *Table) Reserved(s *Site) bool {
	code, n := t.CodeAt(s), t.isa.JumpLen()
	if len(code) < n {
		return false
	}
	lo, _, ok := t.isa.Puns(code[:n], s.Addr, 1)
	need := t.veneerPages(lo)
	return ok && slices.ContainsFunc(t.libs, func(l library) bool {
		return l.puns && need.addr >= l.addr && need.addr+arch.Addr(need.size) <= l.addr+arch.Addr(l.size)
	})
}

// mapFirst maps the first of several libraries and returns those that remain. If part of the first
// has no room, its halves are among these.
func (t *room) mapFirst(todo []library) ([]library, error) {
	l, rest := todo[0], todo[1:]
	err := t.mapper.MapAt(l.addr, l.size)
	switch {
	case errors.Is(err, ErrTaken) && l.size > pageSize:
		half := l.size / 2 &^ (pageSize - 1)
		second := library{addr: l.addr + arch.Addr(half), size: l.size - half, puns: true}
		l.size = half
		return append([]library{l, second}, rest...), nil
	case errors.Is(err, ErrTaken):
		return rest, nil
	case err != nil:
		return todo, err
	}
	return rest, t.addLibrary(l)
}

// pageSet is a set of pages, and how many mappings they need.
type pageSet struct {
	has    map[arch.Addr]bool // by page number
	groups int
}

// add adds a library's pages.
func (s *pageSet) add(l library) {
	for page := l.addr / pageSize; page < (l.addr+arch.Addr(l.size))/pageSize; page++ {
		if !s.has[page] {
			s.groups += s.joins(page)
			s.has[page] = true
		}
	}
}

// joins is how many more mappings the set needs with a page.
func (s *pageSet) joins(page arch.Addr) int {
	n := 1
	for _, side := range []arch.Addr{page - 1, page + 1} {
		if s.has[side] {
			n--
		}
	}
	return n
}

// addUpTo adds a library's pages unless the set then needs more than most mappings. It reports
// whether it added them.
func (s *pageSet) addUpTo(l library, most int) bool {
	first, end := l.addr/pageSize, (l.addr+arch.Addr(l.size))/pageSize
	for page := first; page < end; page++ {
		if !s.has[page] {
			if s.groups >= most && s.joins(page) > 0 {
				return false
			}
			s.add(library{addr: page * pageSize, size: pageSize})
		}
	}
	return true
}

// without lists the pages that are not in another set, as mappings.
func (s *pageSet) without(have map[arch.Addr]bool) (list []library) {
	for _, page := range slices.Sorted(maps.Keys(s.has)) {
		at := page * pageSize
		if have[page] {
			continue
		}
		if n := len(list); n > 0 && list[n-1].addr+arch.Addr(list[n-1].size) == at {
			list[n-1].size += pageSize
			continue
		}
		list = append(list, library{addr: at, size: pageSize, puns: true})
	}
	return list
}
