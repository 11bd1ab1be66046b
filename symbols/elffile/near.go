package elffile

import (
	"errors"
	"sort"
)

// ErrCrowded is of addresses with so many symbols that the whole table is read sooner: here
// each name is read by itself.
var ErrCrowded = errors.New("many symbols at few addresses")

const maxCrowd = 1 << 10

// Near yields what is around a few addresses without reading a name that is
// not needed: the symbols at each, the nearest function behind, and one that
// covers it.
func (t *Table) Near(at []uint64, yield func(Symbol)) error {
	v := vicinity{t: t, at: at, around: make([]neighbours, len(at))}
	if err := t.scan(v.look); err != nil {
		return err
	}
	for _, n := range v.around {
		for _, e := range append(n.here, n.next, n.cover) {
			if e == nil {
				continue
			}
			if s, ok := e.symbol(t.nameAt(e.name())); ok {
				yield(s)
			}
		}
	}
	return nil
}

// vicinity is what is around addresses.
type vicinity struct {
	t      *Table
	at     []uint64 // ascending
	around []neighbours
	names  int // that have been read, or are going to be
}

// look looks whether a symbol is near.
func (v *vicinity) look(e entry) error {
	value := e.value()
	i := sort.Search(len(v.at), func(i int) bool { return v.at[i] >= value })
	if i < len(v.at) && v.at[i] == value {
		v.around[i].here = append(v.around[i].here, clone(e))
		v.names++
	}
	// The last address before it has it as a neighbour behind; those that it
	// covers have it as their cover.
	if j := i - 1; j >= 0 && v.around[j].nearer(e) {
		if labelled(e) {
			v.names++
		}
		if v.t.isName(e) {
			v.around[j].next = clone(e)
		}
	}
	for j := i; j < len(v.at) && !labelled(e) && v.at[j]-value < e.size(); j++ {
		if v.at[j] > value && v.around[j].cover == nil {
			v.around[j].cover = clone(e)
		}
	}
	if v.names > maxCrowd {
		return ErrCrowded
	}
	return nil
}

type neighbours struct {
	here        []entry
	next, cover entry
}

// nearer reports whether e begins before the next function known so far.
func (n neighbours) nearer(e entry) bool { return n.next == nil || e.value() < n.next.value() }

// isName reports whether e is no mere mark.
func (t *Table) isName(e entry) bool {
	if !labelled(e) {
		return true
	}
	_, ok := e.symbol(t.nameAt(e.name()))
	return ok
}

func clone(e entry) entry { return append(entry(nil), e...) }

func labelled(e entry) bool { return e.info()&0xf == 0 }

// nameAt reads one name.
func (t *Table) nameAt(off uint32) string {
	if uint64(off) >= t.strs.Size {
		return ""
	}
	for n := uint64(256); ; n *= 16 {
		n = min(n, t.strs.Size-uint64(off), maxName)
		b, err := t.o.Read(t.strs.Off+uint64(off), n)
		if err != nil {
			return ""
		}
		if s := CString(b, 0); s != "" || b[0] == 0 {
			return s
		}
		if n >= maxName || n == t.strs.Size-uint64(off) {
			return ""
		}
	}
}
