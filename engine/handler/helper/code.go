package helper

import "github.com/ptracer/ptracer/engine/handler/program"

// code collects a helper's instructions.
type code struct {
	insns  []program.Insn
	funcs  []program.Func
	stack  []int // bytes, for each function
	labels []int // the positions of the labels
	jumps  map[int]label
	calls  map[int]label
}

type label int

// Registers.
const (
	r0 = iota
	r1
	r2
	r3
	r4
	r5
	r6
	r7
	r8
	r9
	r10
)

func newCode() *code { return &code{jumps: map[int]label{}, calls: map[int]label{}} }

func (c *code) put(op, dst, src uint8, off int, imm int32) {
	c.insns = append(c.insns, program.Insn{Op: op, Dst: dst, Src: src, Off: int16(off), Imm: imm})
}

// function begins a function with stack bytes of stack.
func (c *code) function(name string, stack int) label {
	l := c.label()
	c.here(l)
	c.begin(name, stack)
	return l
}

func (c *code) begin(name string, stack int) {
	c.funcs = append(c.funcs, program.Func{Name: name, Start: len(c.insns)})
	c.stack = append(c.stack, stack)
}

func (c *code) label() label {
	c.labels = append(c.labels, -1)
	return label(len(c.labels) - 1)
}

func (c *code) here(l label) { c.labels[l] = len(c.insns) }

// again returns a label at this position.
func (c *code) again() label {
	l := c.label()
	c.here(l)
	return l
}

func (c *code) mov(dst, src uint8)          { c.alu(program.AluMov, dst, src) }
func (c *code) movi(dst uint8, n int32)     { c.alui(program.AluMov, dst, n) }
func (c *code) alu(op, dst, src uint8)      { c.put(program.ClassAlu64|program.SrcX|op, dst, src, 0, 0) }
func (c *code) alui(op, dst uint8, n int32) { c.put(program.ClassAlu64|op, dst, 0, 0, n) }

// low moves the lower 32 bits of src.
func (c *code) low(dst, src uint8) {
	c.put(program.ClassAlu|program.SrcX|program.AluMov, dst, src, 0, 0)
}

func (c *code) wide(dst, src uint8, low, high uint32) {
	c.put(program.SizeDW, dst, src, 0, int32(low))
	c.put(0, 0, 0, 0, int32(high))
}

// number loads a constant of 64 bits.
func (c *code) number(dst uint8, n uint64) {
	if int64(n) == int64(int32(n)) {
		c.movi(dst, int32(n))
		return
	}
	c.wide(dst, program.PseudoNone, uint32(n), uint32(n>>32))
}

// region loads the address at off in the maps' region; map 0 stands for the whole region.
func (c *code) region(dst uint8, off int) { c.wide(dst, program.PseudoMapValue, 0, uint32(off)) }

func (c *code) load(dst, base uint8, off int) {
	c.put(program.ClassLdx|program.ModeMem|program.SizeDW, dst, base, off, 0)
}

func (c *code) loadSize(size, dst, base uint8, off int) {
	c.put(program.ClassLdx|program.ModeMem|size, dst, base, off, 0)
}

func (c *code) store(base uint8, off int, src uint8) {
	c.put(program.ClassStx|program.ModeMem|program.SizeDW, base, src, off, 0)
}

func (c *code) storeSize(size, base uint8, off int, src uint8) {
	c.put(program.ClassStx|program.ModeMem|size, base, src, off, 0)
}

func (c *code) storei(base uint8, off int, n int32) {
	c.put(program.ClassSt|program.ModeMem|program.SizeDW, base, 0, off, n)
}

func (c *code) atomic(base uint8, off int, src uint8, how int32) {
	c.put(program.ClassStx|program.ModeAtomic|program.SizeDW, base, src, off, how)
}

// acquire loads with acquire order.
func (c *code) acquire(dst, base uint8, off int) {
	c.put(program.ClassStx|program.ModeAtomic|program.SizeDW, dst, base, off, program.AtomicLoad)
}

// release stores with release order.
func (c *code) release(base uint8, off int, src uint8) { c.atomic(base, off, src, program.AtomicStore) }
func (c *code) add(base uint8, off int, src uint8)     { c.atomic(base, off, src, program.AluAdd) }

// fetchAdd adds src and sets src to the old value.
func (c *code) fetchAdd(base uint8, off int, src uint8) {
	c.atomic(base, off, src, program.AluAdd|program.AtomicFetch)
}

func (c *code) swap(base uint8, off int, src uint8) { c.atomic(base, off, src, program.AtomicXchg) }

// cas stores src if the memory equals r0; r0 becomes the old value.
func (c *code) cas(base uint8, off int, src uint8) { c.atomic(base, off, src, program.AtomicCmpXchg) }

func (c *code) jump(l label) {
	c.jumps[len(c.insns)] = l
	c.put(program.ClassJmp|program.JmpA, 0, 0, 0, 0)
}

func (c *code) when(op, dst, src uint8, l label) {
	c.jumps[len(c.insns)] = l
	c.put(program.ClassJmp|program.SrcX|op, dst, src, 0, 0)
}

func (c *code) wheni(op, dst uint8, n int32, l label) {
	c.jumps[len(c.insns)] = l
	c.put(program.ClassJmp|op, dst, 0, 0, n)
}

// when32 compares the lower 32 bits.
func (c *code) when32(op, dst uint8, n uint32, l label) {
	c.jumps[len(c.insns)] = l
	c.put(program.ClassJmp32|op, dst, 0, 0, int32(n))
}

// call calls a function inside the helper.
func (c *code) call(l label) {
	c.calls[len(c.insns)] = l
	c.put(program.ClassJmp|program.JmpCall, 0, program.CallFunc, 0, 0)
}

// helper calls another helper or a primitive.
func (c *code) helper(num int32) {
	c.put(program.ClassJmp|program.JmpCall, 0, program.CallHelper, 0, num)
}

func (c *code) exit() { c.put(program.ClassJmp|program.JmpExit, 0, 0, 0, 0) }

// result ends the function with result n.
func (c *code) result(n int32) {
	c.movi(r0, n)
	c.exit()
}

// countDown subtracts 1 from a stack slot, and continues at none when it reaches 0. It clobbers r1.
func (c *code) countDown(slot int, none label) {
	c.load(r1, r10, slot)
	c.alui(program.AluAdd, r1, -1)
	c.store(r10, slot, r1)
	c.wheni(program.JmpEq, r1, 0, none)
}

// link resolves labels.
func (c *code) link() {
	for at, l := range c.jumps {
		c.insns[at].Off = int16(c.labels[l] - at - 1)
	}
	for at, l := range c.calls {
		c.insns[at].Imm = int32(c.labels[l] - at - 1)
	}
}

// copyBytes copies n bytes, a constant, from the address in src to the address in dst, in words. It
// clobbers r1 to r4; src and dst must be other registers.
func (c *code) copyBytes(dst, src uint8, n int) {
	const unrolled = 64
	if n > unrolled {
		words := int32(n &^ 7)
		c.mov(r1, src)
		c.mov(r2, dst)
		c.mov(r3, src)
		c.alui(program.AluAdd, r3, words)
		loop := c.again()
		c.load(r4, r1, 0)
		c.store(r2, 0, r4)
		c.alui(program.AluAdd, r1, 8)
		c.alui(program.AluAdd, r2, 8)
		c.when(program.JmpLt, r1, r3, loop)
		c.tail(r2, r1, 0, n&7)
		return
	}
	for at := 0; at+8 <= n; at += 8 {
		c.load(r4, src, at)
		c.store(dst, at, r4)
	}
	c.tail(dst, src, n&^7, n&7)
}

// tail copies less than 8 bytes.
func (c *code) tail(dst, src uint8, at, n int) {
	for _, size := range []struct {
		bytes int
		op    uint8
	}{{4, program.SizeW}, {2, program.SizeH}, {1, program.SizeB}} {
		if n >= size.bytes {
			c.loadSize(size.op, r4, src, at)
			c.storeSize(size.op, dst, at, r4)
			at, n = at+size.bytes, n-size.bytes
		}
	}
}

// copyLoop copies r3 bytes from r2 to r1; it clobbers r4 and r5.
func (c *code) copyLoop() {
	bytes, loop, end := c.label(), c.label(), c.label()
	c.here(loop)
	c.wheni(program.JmpLt, r3, 8, bytes)
	c.load(r4, r2, 0)
	c.store(r1, 0, r4)
	for _, r := range []uint8{r1, r2} {
		c.alui(program.AluAdd, r, 8)
	}
	c.alui(program.AluAdd, r3, -8)
	c.jump(loop)
	c.here(bytes)
	c.wheni(program.JmpEq, r3, 0, end)
	c.loadSize(program.SizeB, r4, r2, 0)
	c.storeSize(program.SizeB, r1, 0, r4)
	for _, r := range []uint8{r1, r2} {
		c.alui(program.AluAdd, r, 1)
	}
	c.alui(program.AluAdd, r3, -1)
	c.jump(bytes)
	c.here(end)
}

// clearLoop clears r2 bytes from r1 on.
func (c *code) clearLoop() {
	bytes, loop, end := c.label(), c.label(), c.label()
	c.here(loop)
	c.wheni(program.JmpLt, r2, 8, bytes)
	c.storei(r1, 0, 0)
	c.alui(program.AluAdd, r1, 8)
	c.alui(program.AluAdd, r2, -8)
	c.jump(loop)
	c.here(bytes)
	c.wheni(program.JmpEq, r2, 0, end)
	c.put(program.ClassSt|program.ModeMem|program.SizeB, r1, 0, 0, 0)
	c.alui(program.AluAdd, r1, 1)
	c.alui(program.AluAdd, r2, -1)
	c.jump(bytes)
	c.here(end)
}
