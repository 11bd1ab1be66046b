package maps

import (
	"bytes"
	"slices"
	"sync/atomic"

	"github.com/ptracer/ptracer/engine/handler/ring"
)

// hash is a map with any key: heads of lists, and nodes. A node is
//
//	link     8 bytes
//	use      8 bytes: in an LRU hash 1 if it was looked up since the last sweep;
//	         with a value for each CPU how many are writing one
//	key      padded with 0 to 8
//	value    the same; maps with a value for each CPU have them elsewhere
//
// A list is in the order of its keys, as rows of words; so there is one place
// where a key can be put, and none gets in twice. A node is deleted by marking
// its link, which nobody can change from then on; whoever passes by takes it out
// of the list, and gives its room back. To replace a value is to mark a node's
// link and have it lead to a new node with the same key, in one step.
type hash struct {
	*Map
	lru bool
}

const nodeHead = 16

// A link: the index of a node, or one of the last few numbers, whether the node
// that holds it is deleted, and in the upper half how often it was changed.
const (
	LinkIndex = 1<<31 - 1
	LinkDead  = 1 << 31
	linkTag   = 1 << 32

	LinkUnused = LinkIndex     // the node's room is free
	LinkTaken  = LinkIndex - 1 // somebody is about to use it
	LinkEnd    = LinkIndex - 2 // the list's end; what is not above it, as 32 bits, is a node in a list
)

// tries bounds what is done while others are faster, or in memory that was
// spoiled.
const tries = 1 << 12

func (h *hash) init() {
	for i := range h.buckets {
		h.head(i).Store(LinkEnd)
	}
	for i := range h.entries {
		h.link(i).Store(LinkUnused)
	}
}

func (h *hash) head(bucket int) *atomic.Uint64 { return ring.Word(h.b, h.heads+8*bucket) }
func (h *hash) link(i int) *atomic.Uint64      { return ring.Word(h.b, h.nodes+i*h.nodeStride) }
func (h *hash) use(i int) *atomic.Uint64       { return ring.Word(h.b, h.nodes+i*h.nodeStride+8) }
func (h *hash) counter(off int) *atomic.Uint64 { return ring.Word(h.b, h.offset+off) }

// to is a link like old, changed to lead to node i.
func to(old uint64, i uint64, dead uint64) uint64 { return (old &^ (linkTag - 1)) + linkTag + i + dead }

// compare orders node i's key and key.
func (h *hash) compare(i int, key []byte) int {
	at := h.nodes + i*h.nodeStride + h.keyOff
	for k := range wordsOf(key) {
		a, b := ring.Word(h.b, at+8*k).Load(), keyWord(key, k)
		if a != b {
			if a < b {
				return -1
			}
			return 1
		}
	}
	return 0
}

// place is where a key is in its list, or would be.
type place struct {
	prev *atomic.Uint64 // the link that leads to it
	was  uint64         // what it held
	node int            // that it leads to
	next uint64         // that node's link
	here bool           // the node has the key
}

// find looks for a key, and takes out what was deleted on the way. It is false
// if it was not let, or the memory is spoiled.
func (h *hash) find(key []byte) (p place, ok bool) {
	bucket := h.head(int(hashOf(key)) & (h.buckets - 1))
	for range tries {
		if p, ok = h.walk(bucket, key); ok {
			return p, true
		}
	}
	return p, false
}

// walk goes along a list once; false: it changed under its feet.
func (h *hash) walk(prev *atomic.Uint64, key []byte) (p place, ok bool) {
	p = place{prev: prev, was: prev.Load()}
	if p.was&LinkDead != 0 {
		return p, false
	}
	for range h.entries + 1 {
		p.node = int(p.was & LinkIndex)
		if p.node == LinkEnd {
			return p, true
		}
		if p.node >= h.entries {
			return p, false
		}
		p.next = h.link(p.node).Load()
		order := h.compare(p.node, key)
		if p.prev.Load() != p.was {
			return p, false // what was read may have been another node's
		}
		switch {
		case p.next&LinkDead != 0:
			now := to(p.was, p.next&LinkIndex, 0)
			if !p.prev.CompareAndSwap(p.was, now) {
				return p, false
			}
			h.free(p.node)
			p.was = now
		case order >= 0:
			p.here = order == 0
			return p, true
		default:
			p.prev, p.was = h.link(p.node), p.next
		}
	}
	return p, false
}

// free gives a node's room back. Only who has taken it out of the list may.
func (h *hash) free(i int) {
	l := h.link(i)
	l.Store(to(l.Load(), LinkUnused, 0))
}

// room finds a node that is free.
func (h *hash) room() (int, bool) {
	cursor := h.counter(OffCursor)
	for range h.entries {
		i := int(cursor.Add(1) % uint64(h.entries))
		l := h.link(i)
		if was := l.Load(); was&LinkIndex != LinkUnused || !l.CompareAndSwap(was, to(was, LinkTaken, 0)) {
			continue
		}
		if h.inPlace() && h.use(i).Load() != 0 { // somebody is about to find that it is not what he meant
			h.free(i)
			continue
		}
		return i, true
	}
	return 0, false
}

func (h *hash) lookup(key []byte, cpu int) (int, bool) {
	p, ok := h.find(key)
	if !ok || !p.here {
		return 0, false
	}
	if h.lru {
		if s := h.use(p.node); s.Load() == 0 {
			s.Store(1)
		}
	}
	return h.valueAt(p.node, h.clamp(cpu)), true
}

// delete marks an entry's node.
func (h *hash) delete(key []byte) error {
	for range tries {
		p, ok := h.find(key)
		if !ok {
			return ErrBusy
		}
		if !p.here {
			return ErrNotFound
		}
		if h.kill(p, p.next&LinkIndex) {
			h.counter(OffUsed).Add(^uint64(0))
			h.unlink(p, key, p.next&LinkIndex)
			return nil
		}
	}
	return ErrBusy
}

// kill marks the node of p, which then leads to next. It is false if the node
// is not any more what it was.
func (h *hash) kill(p place, next uint64) bool {
	return h.link(p.node).CompareAndSwap(p.next, to(p.next, next, LinkDead))
}

// unlink takes the node of p out, which was killed.
func (h *hash) unlink(p place, key []byte, next uint64) {
	if p.prev.CompareAndSwap(p.was, to(p.was, next, 0)) {
		h.free(p.node)
	} else {
		h.find(key)
	}
}

// all goes list by list. A list is short; a key that was deleted and put in
// again meanwhile is told once.
func (h *hash) all(cpus []int, values [][]byte, yield func([]byte) bool) {
	var told [][]byte
	for bucket := range h.buckets {
		told = told[:0]
		for _, i := range h.list(bucket) {
			key, ok := h.entry(i, cpus, values)
			if !ok || slices.ContainsFunc(told, func(k []byte) bool { return bytes.Equal(k, key) }) {
				continue
			}
			told = append(told, key)
			if !yield(slices.Clone(key)) {
				return
			}
		}
	}
}

// entry copies the entry in node i, if there is one.
func (h *hash) entry(i int, cpus []int, values [][]byte) (key []byte, ok bool) {
	key = make([]byte, h.spec.KeySize)
	for range tries {
		was := h.link(i).Load()
		if was&LinkDead != 0 || was&LinkIndex == LinkUnused || was&LinkIndex == LinkTaken {
			return nil, false
		}
		h.load(h.nodes+i*h.nodeStride+h.keyOff, key)
		h.loadAll(i, cpus, values)
		if h.link(i).Load() == was {
			return key, true
		}
	}
	return nil, false
}

// list are the nodes of a bucket.
func (h *hash) list(bucket int) (nodes []int) {
	for range tries {
		nodes = nodes[:0]
		prev, ok := h.head(bucket), true
		was := prev.Load()
		for ok && was&LinkIndex != LinkEnd && len(nodes) <= h.entries {
			i := int(was & LinkIndex)
			if i >= h.entries {
				return nil
			}
			next := h.link(i).Load()
			if ok = prev.Load() == was; next&LinkDead == 0 {
				nodes = append(nodes, i)
			}
			prev, was = h.link(i), next
		}
		if ok {
			return nodes
		}
	}
	return nil
}
