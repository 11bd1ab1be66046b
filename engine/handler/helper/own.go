package helper

import (
	"math"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// own is compile.FnOwn: the lookup of the thread's entry in a hash with the thread's ids as key.
// The thread's entry in the table of threads says in which node the ids were found last; the node
// tells whether they are still there.
func (h *hash) own(e *Env) {
	pair := threadFound + 16*(h.Header/maps.HeaderSize%threadPairs)
	tag := uint64(e.Region) + uint64(h.Header)
	slow := h.label()
	h.begin("own", 0)
	h.helper(e.pointer())
	threadEntryOf(h.code, r4, r0, e.Threads)
	h.load(r3, r4, 0)
	h.when(program.JmpNe, r3, r0, slow)
	h.acquire(r5, r4, threadIDs) // 0 is no node's key
	h.store(r2, 0, r5)
	h.number(r1, tag)
	h.load(r3, r4, pair)
	h.when(program.JmpNe, r3, r1, slow)
	h.load(r0, r4, pair+8)
	h.wheni(program.JmpGe, r0, int32(min(h.Entries*h.NodeStride, math.MaxInt32)), slow)
	h.region(r1, h.Nodes)
	h.alu(program.AluAdd, r0, r1)
	h.load(r3, r0, h.KeyOff)
	h.when(program.JmpNe, r3, r5, slow)
	h.acquire(r1, r0, 0)
	h.when32(program.JmpGt, r1, maps.LinkEnd, slow) // it is in no list
	if h.LRU {
		h.storei(r0, 8, 1) // used; the slot is the thread's anyway
	}
	h.alui(program.AluAdd, r0, int32(h.ValueOff))
	h.exit()

	h.here(slow)
	search := h.label()
	h.call(search)
	h.exit()

	h.here(search)
	h.ownSearch(e, pair, tag)
}

// ownSearch looks for the thread's ids in the whole map, and records their node. It writes the ids
// to the address in r2.
func (h *hash) ownSearch(e *Env, pair int, tag uint64) {
	const key, node, at, of = -8, -16, -24, -32
	none, out := h.label(), h.label()
	h.begin("search", 32)
	h.store(r10, key, r2)
	h.helper(program.FnCurrentPIDTGID)
	h.load(r2, r10, key)
	h.store(r2, 0, r0)
	h.store(r10, of, r0)
	h.helper(program.FnMapLookup)
	h.wheni(program.JmpEq, r0, 0, none)
	h.store(r10, node, r0)
	h.region(r1, h.Nodes+h.ValueOff)
	h.mov(r2, r0)
	h.alu(program.AluSub, r2, r1)
	h.store(r10, at, r2)
	h.helper(compile.FnThread)
	h.wheni(program.JmpEq, r0, 0, out)
	threadEntryOf(h.code, r4, r0, e.Threads)
	h.load(r3, r4, 0)
	h.when(program.JmpNe, r3, r0, out)
	h.acquire(r3, r4, threadIDs) // without an entry it can't be recorded
	h.load(r2, r10, of)
	h.when(program.JmpNe, r3, r2, out)
	h.load(r2, r10, at)
	h.store(r4, pair+8, r2)
	h.number(r1, tag)
	h.release(r4, pair, r1)
	h.here(out)
	h.load(r0, r10, node)
	h.exit()
	h.here(none)
	h.result(0)
}

// threadEntryOf loads the address of the first entry that a thread with this pointer may have into
// dst; it clobbers r1.
func threadEntryOf(c *code, dst, pointer uint8, table arch.Addr) {
	hashed(c, dst, pointer, table+threadFirst, threadBits, threadShift)
}

// hashed loads the address of the entry for a word's hash, in a table of 1<<n entries of 1<<shift
// bytes each, into dst; it clobbers r1.
func hashed(c *code, dst, word uint8, table arch.Addr, n, shift int32) {
	mul := uint32(compile.ThreadMul)
	c.low(dst, word)
	c.put(program.ClassAlu|program.AluMul, dst, 0, 0, int32(mul))
	c.put(program.ClassAlu|program.AluRsh, dst, 0, 0, 32-n)
	c.alui(program.AluLsh, dst, shift)
	c.number(r1, uint64(table))
	c.alu(program.AluAdd, dst, r1)
}
