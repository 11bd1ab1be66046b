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
//	         in a map with a value for each CPU the number of writers
//	key      padded with 0 to 8
//	value    the same; maps with a value for each CPU store them elsewhere
//
// A list is sorted by keys, compared as rows of words, so that each key has a single place and
// can't be inserted twice. A node is deleted by marking its link, which then never changes again.
// The next thread that passes removes the node from the list and releases it. A value is replaced
// by marking a node's link and making it lead to a new node with the same key, in one step.
type hash struct {
	*Map
	lru bool
}

const nodeHead = 16

// A link: the index of a node, or one of a few reserved numbers; whether the node that holds the
// link is deleted; and in the upper half the number of its changes.
const (
	LinkIndex = 1<<31 - 1
	LinkDead  = 1 << 31
	linkTag   = 1 << 32

	LinkUnused = LinkIndex     // the node is free
	LinkTaken  = LinkIndex - 1 // a thread is about to use it
	LinkEnd    = LinkIndex - 2 // the list's end; a number below it, in 32 bits, is a node in a list
)

// tries bounds the retries while other threads interfere, or in corrupt memory.
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

// to returns the link old, changed to lead to node i.
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

// place is the place of a key in its list, whether the key is there or not.
type place struct {
	prev *atomic.Uint64 // the link that leads to the node
	was  uint64         // the value of that link
	node int            // the node that it leads to
	next uint64         // that node's link
	here bool           // the node has the key
}

// find looks for a key, and removes deleted nodes on the way. It returns false if other threads
// kept interfering, or if the memory is corrupt.
func (h *hash) find(key []byte) (p place, ok bool) {
	bucket := h.head(int(hashOf(key)) & (h.buckets - 1))
	for range tries {
		if p, ok = h.walk(bucket, key); ok {
			return p, true
		}
	}
	return p, false
}

// walk follows a list once; it returns false if the list has changed meanwhile.
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
			return p, false // the data read may have been another node's
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

// free releases a node. Only the thread that has removed it from the list may call it.
func (h *hash) free(i int) {
	l := h.link(i)
	l.Store(to(l.Load(), LinkUnused, 0))
}

// room finds a free node.
func (h *hash) room() (int, bool) {
	cursor := h.counter(OffCursor)
	for range h.entries {
		i := int(cursor.Add(1) % uint64(h.entries))
		l := h.link(i)
		if was := l.Load(); was&LinkIndex != LinkUnused || !l.CompareAndSwap(was, to(was, LinkTaken, 0)) {
			continue
		}
		if h.inPlace() && h.use(i).Load() != 0 { // a thread is about to notice that the node has changed
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

// delete marks an entry's node as deleted.
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

// kill marks the node of p as deleted; its link then leads to next. It returns false if the node
// has changed.
func (h *hash) kill(p place, next uint64) bool {
	return h.link(p.node).CompareAndSwap(p.next, to(p.next, next, LinkDead))
}

// unlink removes the node of p, which was killed, from its list.
func (h *hash) unlink(p place, key []byte, next uint64) {
	if p.prev.CompareAndSwap(p.was, to(p.was, next, 0)) {
		h.free(p.node)
	} else {
		h.find(key)
	}
}

// all yields the entries list by list. A list is short; a key that was deleted and inserted again
// meanwhile is reported once.
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

// list returns the nodes of a bucket.
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
