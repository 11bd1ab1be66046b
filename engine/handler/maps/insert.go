package maps

import "github.com/ptracer/ptracer/engine/handler/ring"

// insertion is an update in progress: a node of its own, and its share of the entry count.
type insertion struct {
	h       *hash
	node    int
	has     bool // it has a node
	counted bool
}

// update inserts an entry, or replaces it.
func (h *hash) update(key, value []byte, flags uint64, cpu int) error {
	in := insertion{h: h}
	err := error(ErrBusy)
	for range tries {
		p, ok := h.find(key)
		if !ok {
			break
		}
		var done bool
		if p.here {
			done, err = in.replace(p, key, value, flags, cpu)
		} else {
			done, err = in.insert(p, key, value, flags, cpu)
		}
		if done || err != nil {
			break
		}
		err = ErrBusy
	}
	in.end()
	return err
}

// end releases what was not used.
func (in *insertion) end() {
	if in.has {
		in.h.free(in.node)
	}
	if in.counted {
		in.h.counter(OffUsed).Add(^uint64(0))
	}
}

// take gets a node and fills it in.
func (in *insertion) take(key, value []byte, cpu int) bool {
	h := in.h
	if in.has {
		return true
	}
	if in.node, in.has = h.room(); !in.has {
		return false
	}
	at := h.nodes + in.node*h.nodeStride + h.keyOff
	for k := range wordsOf(key) {
		ring.Word(h.b, at+8*k).Store(keyWord(key, k))
	}
	if h.inPlace() && cpu != AllCPUs {
		for c := range h.cpus {
			for o := 0; o < h.stride; o += 8 {
				ring.Word(h.b, h.valueAt(in.node, c)+o).Store(0)
			}
		}
	}
	h.set(in.node, value, cpu)
	if h.lru {
		h.use(in.node).Store(0)
	}
	return true
}

// lead makes the node's link lead to next.
func (in *insertion) lead(next uint64) {
	l := in.h.link(in.node)
	l.Store(to(l.Load(), next, 0))
}

// insert inserts a new entry at p. If it returns false without an error, the caller tries again.
func (in *insertion) insert(p place, key, value []byte, flags uint64, cpu int) (done bool, err error) {
	h := in.h
	if flags == Exist {
		return false, ErrNotFound
	}
	if !in.counted {
		if used := h.counter(OffUsed).Add(1); used > uint64(h.spec.MaxEntries) && !h.evict() {
			h.counter(OffUsed).Add(^uint64(0))
			return false, h.refuse(ErrFull)
		}
		in.counted = true
		return false, nil // evicting takes time, and removes nodes from lists
	}
	if !in.take(key, value, cpu) {
		return false, h.refuse(ErrFull)
	}
	in.lead(p.was & LinkIndex)
	if !p.prev.CompareAndSwap(p.was, to(p.was, uint64(in.node), 0)) {
		return false, nil
	}
	in.has, in.counted = false, false
	return true, nil
}

// replace gives the entry at p another value. If the map has a value for each CPU, the others'
// values stay.
func (in *insertion) replace(p place, key, value []byte, flags uint64, cpu int) (done bool, err error) {
	h := in.h
	if flags == NoExist {
		return false, ErrExists
	}
	if h.inPlace() {
		return h.overwrite(p, value, cpu), nil
	}
	if !in.take(key, value, cpu) {
		return false, h.refuse(ErrFull)
	}
	in.lead(p.next & LinkIndex)
	if !h.kill(p, uint64(in.node)) {
		return false, nil
	}
	in.has = false
	h.unlink(p, key, uint64(in.node))
	return true, nil
}

// maxKey is the longest key, in bytes (package program).
const maxKey = 512

// inPlace reports whether values are overwritten in place, since those of other CPUs stay.
func (h *hash) inPlace() bool { return h.cpus > 1 }

// overwrite writes a value of the entry at p, if the entry is still there. Its node can't be reused
// meanwhile: either the thread that takes the node sees that it is in use, or overwrite sees that
// it was taken.
func (h *hash) overwrite(p place, value []byte, cpu int) bool {
	use := h.use(p.node)
	use.Add(1)
	defer use.Add(^uint64(0))
	if h.link(p.node).Load() != p.next {
		return false
	}
	h.set(p.node, value, cpu)
	return true
}

// evict makes room in an LRU hash. The cursor passes over the entries: evict removes the first one
// that was not looked up since the cursor passed it last, and clears the mark of the others.
func (h *hash) evict() bool {
	if !h.lru {
		return false
	}
	cursor := h.counter(OffCursor)
	var buf [maxKey]byte
	key := buf[:h.spec.KeySize]
	for range 2 * h.entries {
		i := int(cursor.Add(1) % uint64(h.entries))
		was := h.link(i).Load()
		if was&LinkDead != 0 || was&LinkIndex == LinkUnused || was&LinkIndex == LinkTaken {
			continue
		}
		if h.use(i).Swap(0) != 0 {
			continue
		}
		h.load(h.nodes+i*h.nodeStride+h.keyOff, key)
		if h.link(i).Load() == was && h.delete(key) == nil {
			return true
		}
	}
	return false
}
