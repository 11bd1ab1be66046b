package symbols

import "sort"

// near yields what is around a few addresses without reading a name that is
// not needed: the symbols at each, the nearest function behind, and one that
// covers it.
func (t *symtab) near(at []uint64, yield func(symbol)) error {
	around := make([]neighbours, len(at))
	err := t.scan(func(e entry) error {
		v := e.value()
		i := sort.Search(len(at), func(i int) bool { return at[i] >= v })
		if i < len(at) && at[i] == v {
			around[i].here = append(around[i].here, clone(e))
		}
		// The last address before v has it as a neighbour behind; those that
		// v covers have it as their cover.
		if j := i - 1; j >= 0 && around[j].nearer(e) && t.isName(e) {
			around[j].next = clone(e)
		}
		for j := i; j < len(at) && !labelled(e) && at[j]-v < e.size(); j++ {
			if at[j] > v && around[j].cover == nil {
				around[j].cover = clone(e)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range around {
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

type neighbours struct {
	here        []entry
	next, cover entry
}

// nearer reports whether e begins before the next function known so far.
func (n neighbours) nearer(e entry) bool { return n.next == nil || e.value() < n.next.value() }

// isName reports whether e is no mere mark.
func (t *symtab) isName(e entry) bool {
	if !labelled(e) {
		return true
	}
	_, ok := e.symbol(t.nameAt(e.name()))
	return ok
}

func clone(e entry) entry { return append(entry(nil), e...) }

func labelled(e entry) bool { return e.info()&0xf == 0 }

// nameAt reads one name.
func (t *symtab) nameAt(off uint32) string {
	if uint64(off) >= t.strs.size {
		return ""
	}
	for n := uint64(256); ; n *= 16 {
		n = min(n, t.strs.size-uint64(off), maxName)
		b, err := t.o.read(t.strs.off+uint64(off), n)
		if err != nil {
			return ""
		}
		if s := cstring(b, 0); s != "" || b[0] == 0 {
			return s
		}
		if n >= maxName || n == t.strs.size-uint64(off) {
			return ""
		}
	}
}
