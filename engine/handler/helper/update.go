package helper

import (
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Slots of update's stack, below the place.
const (
	updTries   = -placeSize - 8
	updNode    = -placeSize - 16 // the index of update's own node
	updNodeAt  = -placeSize - 24 // its address, 0: none
	updCounted = -placeSize - 32 // whether it counts as an entry of the map
	updStack   = placeSize + 32
)

// update is map_update_elem: key, value and flags are in r2 to r4.
func (h *hash) update() {
	h.find = h.label()
	take, evict := h.label(), h.label()
	insert, replace, loop, end, full := h.label(), h.label(), h.label(), h.label(), h.label()
	flags := h.label()
	h.begin("update", updStack)
	h.mov(r6, r2)
	h.mov(r7, r3)
	h.mov(r8, r4)
	h.storei(r10, updNodeAt, 0)
	h.storei(r10, updCounted, 0)
	h.movi(r9, eInvalid)
	h.wheni(program.JmpLe, r8, maps.Exist, flags)
	h.jump(end)
	h.here(flags)
	h.movi(r9, eBusy)
	h.storei(r10, updTries, tries)
	h.here(loop)
	h.movi(r9, eBusy)
	h.countDown(updTries, end)
	h.look(end)
	h.at(r1, placeHere)
	h.wheni(program.JmpEq, r1, 0, insert)

	h.here(replace)
	h.movi(r9, eExists)
	h.wheni(program.JmpEq, r8, maps.NoExist, end)
	if h.CPUs > 1 {
		h.overwrite(loop, end)
	} else {
		h.exchange(take, loop, end, full)
	}
	h.here(insert)
	h.insert(take, evict, loop, end, full)

	h.here(full)
	h.count(maps.OffRefused, 1)
	h.movi(r9, eTooBig)
	h.here(end)
	h.giveBack()
	h.mov(r0, r9)
	h.exit()

	h.takeFunc(take)
	h.evictFunc(evict)
	h.findFunc2()
}

// giveBack releases what update has taken and not used.
func (h *hash) giveBack() {
	none, out := h.label(), h.label()
	h.load(r3, r10, updNodeAt)
	h.wheni(program.JmpEq, r3, 0, none)
	h.free(r3)
	h.here(none)
	h.load(r1, r10, updCounted)
	h.wheni(program.JmpEq, r1, 0, out)
	h.count(maps.OffUsed, -1)
	h.here(out)
}

// overwrite writes this CPU's value in place (maps' overwrite).
func (h *hash) overwrite(loop, end label) {
	same := h.label()
	h.at(r9, placeAt)
	h.movi(r2, 1)
	h.add(r9, 8, r2)
	h.acquire(r3, r9, 0)
	h.at(r4, placeNext)
	h.when(program.JmpEq, r3, r4, same)
	h.movi(r2, -1)
	h.add(r9, 8, r2)
	h.jump(loop)
	h.here(same)
	h.at(r4, placeNode)
	h.value(r5, r4, r9)
	h.copyBytes(r5, r7, h.ValueSize)
	h.movi(r2, -1)
	h.add(r9, 8, r2)
	h.movi(r9, 0)
	h.jump(end)
}

// prepare gets a node for update and fills it in; its link leads to the node in next.
func (h *hash) prepare(take label, next func(), full label) {
	has := h.label()
	h.load(r0, r10, updNodeAt)
	h.wheni(program.JmpNe, r0, 0, has)
	h.mov(r1, r6)
	h.mov(r2, r7)
	h.mov(r3, r10)
	h.alui(program.AluAdd, r3, updNode)
	h.call(take)
	h.wheni(program.JmpEq, r0, 0, full)
	h.store(r10, updNodeAt, r0)
	h.here(has)
	next() // into r3
	h.acquire(r1, r0, 0)
	h.to(r1, r1)
	h.alu(program.AluAdd, r1, r3)
	h.release(r0, 0, r1)
}

// exchange replaces the node that has the key by a new one.
func (h *hash) exchange(take, loop, end, full label) {
	h.prepare(take, func() {
		h.at(r3, placeNext)
		h.index(r3, r3)
	}, full)
	h.at(r4, placeNext)
	h.at(r5, placeAt)
	h.to(r1, r4)
	h.load(r3, r10, updNode)
	h.alu(program.AluAdd, r1, r3)
	h.number(r2, maps.LinkDead)
	h.alu(program.AluAdd, r1, r2)
	h.mov(r0, r4)
	h.cas(r5, 0, r1)
	h.when(program.JmpNe, r0, r4, loop)
	h.storei(r10, updNodeAt, 0)
	h.movi(r9, 0)
	h.mov(r5, r3)
	h.at(r3, placeAt)
	h.mov(r2, r3)
	h.store(r10, updTries, r2) // no more tries: the slot is free
	h.at(r3, placePrev)
	h.at(r4, placeWas)
	h.to(r1, r4)
	h.alu(program.AluAdd, r1, r5)
	h.mov(r0, r4)
	h.cas(r3, 0, r1)
	h.when(program.JmpNe, r0, r4, end)
	h.load(r3, r10, updTries)
	h.free(r3)
	h.jump(end)
}

// insert inserts a new entry.
func (h *hash) insert(take, evict, loop, end, full label) {
	counted, fits := h.label(), h.label()
	h.movi(r9, eNoEntry)
	h.wheni(program.JmpEq, r8, maps.Exist, end)
	h.load(r1, r10, updCounted)
	h.wheni(program.JmpNe, r1, 0, counted)
	h.region(r1, h.Header+maps.OffUsed)
	h.movi(r2, 1)
	h.fetchAdd(r1, 0, r2)
	h.wheni(program.JmpLt, r2, int32(h.MaxEntries), fits)
	if h.LRU {
		h.call(evict)
		h.wheni(program.JmpNe, r0, 0, fits)
	}
	h.count(maps.OffUsed, -1)
	h.jump(full)
	h.here(fits)
	h.storei(r10, updCounted, 1)
	h.jump(loop)

	h.here(counted)
	h.prepare(take, func() {
		h.at(r3, placeWas)
		h.index(r3, r3)
	}, full)
	h.at(r3, placePrev)
	h.at(r4, placeWas)
	h.to(r1, r4)
	h.load(r2, r10, updNode)
	h.alu(program.AluAdd, r1, r2)
	h.mov(r0, r4)
	h.cas(r3, 0, r1)
	h.when(program.JmpNe, r0, r4, loop)
	h.storei(r10, updNodeAt, 0)
	h.storei(r10, updCounted, 0)
	h.movi(r9, 0)
	h.jump(end)
}

// takeFunc is the function that takes a free node, and fills in the key at r1 and the value at r2.
// r0 is its address, or 0 if no node is free; its index is written to the address in r3.
func (h *hash) takeFunc(f label) {
	const left = -8
	h.here(f)
	h.begin("take", 8)
	none, loop := h.label(), h.label()
	h.mov(r6, r1)
	h.mov(r7, r2)
	h.mov(r8, r3)
	h.storei(r10, left, int32(h.Entries+1))
	h.here(loop)
	h.countDown(left, none)
	h.cursor()
	h.store(r8, 0, r2)
	h.node(r9, r2)
	h.acquire(r3, r9, 0)
	h.index(r5, r3)
	h.wheni(program.JmpNe, r5, maps.LinkUnused, loop)
	h.to(r1, r3)
	h.alui(program.AluAdd, r1, maps.LinkTaken)
	h.mov(r0, r3)
	h.cas(r9, 0, r1)
	h.when(program.JmpNe, r0, r3, loop)
	if h.CPUs > 1 {
		idle := h.label()
		h.load(r1, r9, 8)
		h.wheni(program.JmpEq, r1, 0, idle)
		h.free(r9)
		h.jump(loop)
		h.here(idle)
	}
	for k := range h.words {
		h.keyWord(r2, r6, k)
		h.store(r9, h.KeyOff+8*k, r2)
	}
	h.load(r4, r8, 0)
	if h.CPUs > 1 {
		h.clearValues()
		h.load(r4, r8, 0)
	}
	h.value(r5, r4, r9)
	h.copyBytes(r5, r7, h.ValueSize)
	if h.LRU {
		h.storei(r9, 8, 0)
	}
	h.mov(r0, r9)
	h.exit()
	h.here(none)
	h.result(0)
}

// clearValues clears the values of all CPUs of the node at r4.
func (h *hash) clearValues() {
	h.mov(r3, r4)
	h.alui(program.AluMul, r3, int32(h.Stride))
	h.region(r1, h.Data)
	h.alu(program.AluAdd, r3, r1)
	h.movi(r5, int32(h.CPUs))
	cpu := h.again()
	h.mov(r1, r3)
	h.movi(r2, int32(h.Stride))
	h.clearLoop()
	h.alui(program.AluAdd, r3, int32(h.CPUStride))
	h.alui(program.AluAdd, r5, -1)
	h.wheni(program.JmpNe, r5, 0, cpu)
}

// evictFunc is the function that makes room in an LRU hash (maps' evict): it returns 1, or 0.
func (h *hash) evictFunc(f label) {
	if !h.LRU {
		h.labels[f] = 0
		return
	}
	size := 8 * h.words
	loop, none, done, erase := h.label(), h.label(), h.label(), h.label()
	h.here(f)
	h.begin("evict", size)
	h.number(r6, uint64(2*h.Entries))
	h.here(loop)
	h.wheni(program.JmpEq, r6, 0, none)
	h.alui(program.AluAdd, r6, -1)
	h.cursor()
	h.node(r7, r2)
	h.acquire(r8, r7, 0)
	h.when32(program.JmpSet, r8, maps.LinkDead, loop)
	h.index(r5, r8)
	h.wheni(program.JmpEq, r5, maps.LinkUnused, loop)
	h.wheni(program.JmpEq, r5, maps.LinkTaken, loop)
	h.movi(r2, 0)
	h.swap(r7, 8, r2)
	h.wheni(program.JmpNe, r2, 0, loop)
	for k := range h.words {
		h.acquire(r1, r7, h.KeyOff+8*k)
		h.store(r10, 8*k-size, r1)
	}
	h.acquire(r1, r7, 0)
	h.when(program.JmpNe, r1, r8, loop)
	h.mov(r2, r10)
	h.alui(program.AluAdd, r2, int32(-size))
	h.call(erase)
	h.wheni(program.JmpEq, r0, 0, done)
	h.jump(loop)
	h.here(done)
	h.result(1)
	h.here(none)
	h.result(0)
	h.labels[erase] = len(h.insns)
	h.deleteFunc("delete")
}
