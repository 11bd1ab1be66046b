package maps

import "github.com/ptracer/ptracer/engine/handler/ring"

// insertion is an update in progress: a node of its own, and a place among
// those that count.
type insertion struct {
	h       *hash
	node    int
	has     bool // a node
	counted bool
}

// update puts an entry in, or replaces it.
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

// end gives back what was not used.
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

// lead makes the node lead on to next.
func (in *insertion) lead(next uint64) {
	l := in.h.link(in.node)
	l.Store(to(l.Load(), next, 0))
}

// insert puts a new entry in at p. Not done without an error: try again.
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
		return false, nil // to evict takes time, and nodes out of lists
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

// replace gives the entry at p another value. One with a value for each CPU
// keeps those of the others.
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

// maxKey is the longest key there can be, in bytes (package program).
const maxKey = 512

// inPlace is whether values are overwritten: those of other CPUs stay.
func (h *hash) inPlace() bool { return h.cpus > 1 }

// overwrite writes a value of the entry at p, if that is still there. Its room
// is not given to another meanwhile: either who takes it sees that it is in use,
// or it is seen here that it was taken.
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

// evict makes room in an LRU hash: of the entries that come along, the first one
// that was not looked up since it came along last. The others count as not
// looked up from then on.
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
