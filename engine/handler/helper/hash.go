package helper

import (
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Hashes, as in package maps: the same steps on the same memory, so that programs, the interpreter
// and readers can work on one map at the same time.
type hash struct {
	*code
	maps.Layout
	words int // of a key
	find  label
}

// A place in a list, as find writes it to memory (maps' place).
const (
	placePrev = 8 * iota // address of the link that leads to the node
	placeWas             // value of that link
	placeNode            // index
	placeAt              // address
	placeNext            // the node's link
	placeHere            // whether the node has the key
	placeSize = 8 * iota
)

const (
	tries   = 4096
	hashMul = 0x9e3779b97f4a7c15
)

func newHash(l maps.Layout) *hash {
	return &hash{code: newCode(), Layout: l, words: (l.KeySize + 7) / 8}
}

// keyWord loads word k of the key at key; a partial word is padded with 0, which clobbers r5.
func (h *hash) keyWord(dst, key uint8, k int) {
	rest := h.KeySize - 8*k
	if rest >= 8 {
		h.load(dst, key, 8*k)
		return
	}
	shift := int32(0)
	h.movi(dst, 0)
	for _, size := range []struct {
		bytes int
		op    uint8
	}{{4, program.SizeW}, {2, program.SizeH}, {1, program.SizeB}} {
		if rest < size.bytes {
			continue
		}
		if shift == 0 {
			h.loadSize(size.op, dst, key, 8*k)
		} else {
			h.loadSize(size.op, r5, key, 8*k+int(shift/8))
			h.alui(program.AluLsh, r5, shift)
			h.alu(program.AluOr, dst, r5)
		}
		shift, rest = shift+int32(8*size.bytes), rest-size.bytes
	}
}

// bucket loads the address of the key's list into r0 and the key's last word into r4; it clobbers
// r1 and r5.
func (h *hash) bucket(key uint8) {
	h.number(r0, uint64(h.KeySize))
	h.number(r1, hashMul)
	for k := range h.words {
		h.keyWord(r4, key, k)
		h.alu(program.AluXor, r0, r4)
		h.alu(program.AluMul, r0, r1)
		h.mov(r5, r0)
		h.alui(program.AluRsh, r5, 32)
		h.alu(program.AluXor, r0, r5)
	}
	h.alui(program.AluAnd, r0, int32(h.Buckets-1))
	h.alui(program.AluLsh, r0, 3)
	h.region(r1, h.Heads)
	h.alu(program.AluAdd, r0, r1)
}

// node loads the address of node i into dst; it clobbers r1.
func (h *hash) node(dst, i uint8) {
	if dst != i {
		h.mov(dst, i)
	}
	h.alui(program.AluMul, dst, int32(h.NodeStride))
	h.region(r1, h.Nodes)
	h.alu(program.AluAdd, dst, r1)
}

// to sets dst to a new value for the link old, without an index; the caller adds the index.
func (h *hash) to(dst, old uint8) {
	h.mov(dst, old)
	h.alui(program.AluRsh, dst, 32)
	h.alui(program.AluAdd, dst, 1)
	h.alui(program.AluLsh, dst, 32)
}

// index loads the index of the node that a link leads to.
func (h *hash) index(dst, link uint8) {
	h.mov(dst, link)
	h.alui(program.AluAnd, dst, maps.LinkIndex)
}

// free releases the node at an address; it clobbers r1 and r2.
func (h *hash) free(at uint8) {
	h.acquire(r1, at, 0)
	h.to(r1, r1)
	h.alui(program.AluAdd, r1, maps.LinkUnused)
	h.release(at, 0, r1)
}

// counter adds n to one of the map's counters; it clobbers r1 and r2.
func (h *hash) count(off int, n int32) {
	h.region(r1, h.Header+off)
	h.movi(r2, n)
	h.add(r1, 0, r2)
}

// cursor advances the map's cursor and loads the index of its node into r2; it clobbers r1.
func (h *hash) cursor() {
	h.region(r1, h.Header+maps.OffCursor)
	h.movi(r2, 1)
	h.fetchAdd(r1, 0, r2)
	h.alui(program.AluAdd, r2, 1)
	h.alui(program.AluMod, r2, int32(h.Entries))
}

// value loads the address of this CPU's value of node i, which is at the address in at, into dst.
// It clobbers r0 and r1.
func (h *hash) value(dst, i, at uint8) {
	if h.CPUs == 1 {
		h.mov(dst, at)
		h.alui(program.AluAdd, dst, int32(h.ValueOff))
		return
	}
	h.mov(dst, i)
	h.alui(program.AluMul, dst, int32(h.Stride))
	h.region(r1, h.Data)
	h.alu(program.AluAdd, dst, r1)
	h.helper(compile.FnSlot)
	h.alui(program.AluMul, r0, int32(h.CPUStride))
	h.alu(program.AluAdd, dst, r0)
}

// findFunc is the function that looks for the key in r1. It fills in the place in r2 and returns 1,
// or returns 0 if other threads kept interfering or the memory is corrupt. It removes deleted nodes
// from the list on its way.
func (h *hash) findFunc() {
	const head, tried, steps = -8, -16, -24
	h.find = h.function("find", 24)
	again, next, less, stop, help, ok, fail := h.label(), h.label(), h.label(), h.label(), h.label(), h.label(), h.label()
	h.mov(r6, r1)
	h.mov(r7, r2)
	h.bucket(r6)
	h.store(r10, head, r0)
	h.storei(r10, tried, tries)

	h.here(again)
	h.countDown(tried, fail)
	h.load(r8, r10, head)
	h.acquire(r9, r8, 0)
	h.when32(program.JmpSet, r9, maps.LinkDead, again)
	h.storei(r10, steps, int32(h.Entries+2))

	h.here(next)
	h.countDown(steps, again)
	h.index(r5, r9)
	h.store(r7, placePrev, r8)
	h.store(r7, placeWas, r9)
	h.store(r7, placeNode, r5)
	h.storei(r7, placeHere, 0)
	h.wheni(program.JmpEq, r5, maps.LinkEnd, ok)
	h.wheni(program.JmpGe, r5, int32(h.Entries), again)
	h.node(r4, r5)
	h.store(r7, placeAt, r4)
	h.acquire(r3, r4, 0)
	for k := range h.words {
		h.keyWord(r2, r6, k)
		h.acquire(r1, r4, h.KeyOff+8*k)
		h.when(program.JmpLt, r1, r2, less)
		h.when(program.JmpNe, r1, r2, stop)
	}
	h.storei(r7, placeHere, 1)

	h.here(stop)
	h.acquire(r1, r8, 0)
	h.when(program.JmpNe, r1, r9, again)
	h.when32(program.JmpSet, r3, maps.LinkDead, help)
	h.store(r7, placeNext, r3)
	h.here(ok)
	h.result(1)

	h.here(less)
	h.acquire(r1, r8, 0)
	h.when(program.JmpNe, r1, r9, again)
	h.when32(program.JmpSet, r3, maps.LinkDead, help)
	h.mov(r8, r4)
	h.mov(r9, r3)
	h.jump(next)

	h.here(help)
	h.to(r1, r9)
	h.index(r2, r3)
	h.alu(program.AluAdd, r1, r2)
	h.mov(r0, r9)
	h.cas(r8, 0, r1)
	h.when(program.JmpNe, r0, r9, again)
	h.mov(r9, r1)
	h.free(r4)
	h.jump(next)

	h.here(fail)
	h.result(0)
}

// look calls find for the key in r6, with the place at the end of the stack.
func (h *hash) look(busy label) {
	h.mov(r1, r6)
	h.mov(r2, r10)
	h.alui(program.AluAdd, r2, -placeSize)
	h.call(h.find)
	h.wheni(program.JmpEq, r0, 0, busy)
}

// at loads a word of the place at the end of the stack.
func (h *hash) at(dst uint8, word int) { h.load(dst, r10, word-placeSize) }

// lookup is map_lookup_elem: the key is in r2. If the key is one word and the list does not change
// meanwhile, it needs few loads, no call and no place.
func (h *hash) lookup() {
	h.find = h.label()
	if h.words == 1 && h.CPUs == 1 {
		h.begin("lookup", 16)
		h.lookupWord()
	}
	h.begin("search", placeSize)
	missing := h.label()
	h.mov(r6, r2)
	h.look(missing)
	h.at(r1, placeHere)
	h.wheni(program.JmpEq, r1, 0, missing)
	h.at(r5, placeAt)
	h.used(r5)
	h.at(r4, placeNode)
	h.value(r2, r4, r5)
	h.mov(r0, r2)
	h.exit()
	h.here(missing)
	h.result(0)
	h.findFunc2()
}

func (h *hash) lookupWord() {
	const steps, key = -8, -16
	next, less, hit, none, slow := h.label(), h.label(), h.label(), h.label(), h.label()
	h.store(r10, key, r2)
	h.bucket(r2)
	h.mov(r2, r4) // the key
	h.mov(r3, r0) // the link
	h.storei(r10, steps, int32(h.Entries+2))
	h.acquire(r4, r3, 0) // the value of the link
	h.here(next)
	h.index(r5, r4)
	h.wheni(program.JmpEq, r5, maps.LinkEnd, none)
	h.wheni(program.JmpGe, r5, int32(h.Entries), slow)
	h.node(r5, r5)
	h.acquire(r0, r5, 0)
	h.when32(program.JmpSet, r0, maps.LinkDead, slow)
	h.acquire(r1, r5, h.KeyOff)
	h.when(program.JmpLt, r1, r2, less)
	h.when(program.JmpEq, r1, r2, hit)
	h.acquire(r1, r3, 0)
	h.when(program.JmpNe, r1, r4, slow)
	h.here(none)
	h.result(0)
	h.here(less)
	h.acquire(r1, r3, 0)
	h.when(program.JmpNe, r1, r4, slow)
	h.mov(r3, r5)
	h.mov(r4, r0)
	h.countDown(steps, slow)
	h.jump(next)
	h.here(hit)
	h.acquire(r1, r3, 0)
	h.when(program.JmpNe, r1, r4, slow)
	h.used(r5)
	h.mov(r0, r5)
	h.alui(program.AluAdd, r0, int32(h.ValueOff))
	h.exit()
	h.here(slow)
	h.load(r2, r10, key)
	search := h.label()
	h.call(search)
	h.exit()
	h.here(search)
}

// findFunc2 is findFunc after its first call.
func (h *hash) findFunc2() {
	l := h.find
	h.findFunc()
	h.labels[l] = h.labels[h.find]
}

// used marks the node at an address as looked up; it clobbers r1.
func (h *hash) used(at uint8) {
	if !h.LRU {
		return
	}
	known := h.label()
	h.load(r1, at, 8)
	h.wheni(program.JmpNe, r1, 0, known)
	h.storei(at, 8, 1)
	h.here(known)
}

// The kernel's error numbers.
const (
	eNoEntry = -2
	eTooBig  = -7
	eAgain   = -11
	eFault   = -14
	eBusy    = -16
	eExists  = -17
	eInvalid = -22
	eNoSpace = -28
)

// deletion is map_delete_elem: the key is in r2.
func (h *hash) deletion() {
	h.find = h.label()
	h.deleteFunc("delete")
	h.findFunc2()
}

func (h *hash) deleteFunc(name string) label {
	const tried = -placeSize - 8
	busy, none, done := h.label(), h.label(), h.label()
	f := h.function(name, placeSize+8)
	h.mov(r6, r2)
	h.storei(r10, tried, tries)
	loop := h.again()
	h.countDown(tried, busy)
	h.look(busy)
	h.at(r1, placeHere)
	h.wheni(program.JmpEq, r1, 0, none)
	h.at(r8, placeNext)
	h.at(r9, placeAt)
	h.to(r1, r8)
	h.index(r7, r8)
	h.alu(program.AluAdd, r1, r7)
	h.number(r2, maps.LinkDead)
	h.alu(program.AluAdd, r1, r2)
	h.mov(r0, r8)
	h.cas(r9, 0, r1)
	h.when(program.JmpNe, r0, r8, loop)
	h.count(maps.OffUsed, -1)
	h.unlink(r7, r9, done)
	h.here(done)
	h.result(0)
	h.here(none)
	h.result(eNoEntry)
	h.here(busy)
	h.result(eBusy)
	return f
}

// unlink removes a killed node at an address from the place's list, which then leads to the node in
// next. If that fails it continues at done: the next thread that passes removes the node. It
// clobbers r0 to r4.
func (h *hash) unlink(next, at uint8, done label) {
	h.at(r3, placePrev)
	h.at(r4, placeWas)
	h.to(r1, r4)
	h.alu(program.AluAdd, r1, next)
	h.mov(r0, r4)
	h.cas(r3, 0, r1)
	h.when(program.JmpNe, r0, r4, done)
	h.free(at)
}
