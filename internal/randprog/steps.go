package randprog

import "github.com/ptracer/ptracer/engine/handler/program"

var operations = []uint8{program.AluAdd, program.AluSub, program.AluMul, program.AluDiv, program.AluOr, program.AluAnd, program.AluLsh,
	program.AluRsh, program.AluMod, program.AluXor, program.AluArsh, program.AluMov}

func (g *generator) arithmetic() {
	dst := g.any()
	if g.keep[dst] {
		return
	}
	class := []uint8{program.ClassAlu, program.ClassAlu64}[g.IntN(2)]
	op := operations[g.IntN(len(operations))]
	in := aluK(class, op, dst, int32(g.Uint32()>>g.IntN(32)))
	shift := op == program.AluLsh || op == program.AluRsh || op == program.AluArsh
	switch {
	case g.IntN(2) == 0:
		in = alu(class, op, dst, g.any())
	case shift && !g.slip():
		in.Imm &= 31
	case in.Imm == 0 && (op == program.AluDiv || op == program.AluMod):
		in.Imm = 3
	}
	if (op == program.AluDiv || op == program.AluMod) && g.IntN(3) == 0 {
		in.Off = 1 // signed
	}
	g.add(in)
	if op == program.AluMov && in.Op&program.SrcMask == program.SrcX && g.regs[in.Src].kind != number {
		g.regs[dst] = reg{}
		return
	}
	max := ^uint64(0)
	if op == program.AluAnd && in.Op&program.SrcMask == program.SrcK && in.Imm >= 0 {
		max = uint64(in.Imm)
	}
	g.set(dst, max)
}

// extend is a move with sign extension, or a swap of bytes.
func (g *generator) extend() {
	dst := g.any()
	if g.keep[dst] {
		return
	}
	if g.IntN(2) == 0 {
		g.add(insn{Op: program.ClassAlu64 | program.AluMov | program.SrcX, Dst: dst, Src: dst, Off: []int16{8, 16, 32}[g.IntN(3)]})
	} else {
		g.add(insn{Op: []uint8{program.ClassAlu, program.ClassAlu64, program.ClassAlu | program.SrcX}[g.IntN(3)] | program.AluEnd, Dst: dst, Imm: []int32{16, 32, 64}[g.IntN(3)]})
	}
	g.set(dst, ^uint64(0))
}

// slot is a place of the stack, aligned to its size.
func (g *generator) slot() (size uint8, off int) {
	size = sizes[g.IntN(4)]
	n := bytesOf(size)
	off = -frame + g.IntN(frame/n)*n
	if g.slip() {
		off += g.IntN(12) - 6
	}
	return size, off
}

func (g *generator) store() {
	size, off := g.slot()
	if g.IntN(3) == 0 {
		g.add(st(size, program.R10, off, int32(g.Uint32())))
	} else {
		g.add(stx(size, program.R10, g.any(), off))
	}
	for i := range bytesOf(size) {
		if at := off + frame + i; at >= 0 && at < frame {
			g.written[at] = true
		}
	}
}

func (g *generator) load() {
	size, off := g.slot()
	for i := range bytesOf(size) {
		if at := off + frame + i; (at < 0 || at >= frame || !g.written[at]) && !g.slip() {
			g.store()
			return
		}
	}
	mode := uint8(program.ModeMem)
	if size != program.SizeDW && g.IntN(3) == 0 {
		mode = program.ModeMemSX
	}
	r := g.free()
	g.add(ldx(size, mode, r, program.R10, off))
	g.set(r, ^uint64(0))
}

// pointed is a register that points to n bytes, false if there is none.
func (g *generator) pointed() (uint8, int, bool) {
	first := g.IntN(10)
	for i := range 10 {
		r := uint8((first + i) % 10)
		if g.regs[r].kind == value || g.regs[r].kind == record {
			return r, g.regs[r].size, true
		}
	}
	return 0, 0, false
}

// valueAccess reads, writes or adds to a value of a map, at a fixed place or at
// one that depends on a number.
func (g *generator) valueAccess() {
	base, room, ok := g.pointed()
	if !ok {
		g.contextLoad(g.free())
		return
	}
	size := sizes[g.IntN(4)]
	n := bytesOf(size)
	if g.slip() {
		room += g.IntN(9)
	}
	last := room - n
	if last < 0 {
		return
	}
	off := g.IntN(last + 1)
	if g.IntN(3) == 0 && !g.loop {
		if index, ok := g.indexed(base, last); ok {
			base, off = index, 0
		}
	}
	switch g.IntN(5) {
	case 0, 1:
		r := g.free()
		g.add(ldx(size, program.ModeMem, r, base, off))
		g.set(r, ^uint64(0))
	case 2:
		g.add(stx(size, base, g.any(), off))
	case 3:
		g.add(st(size, base, off, int32(g.Uint32())))
	default:
		g.atomically(base, off, last)
	}
}

// indexed is a pointer that is a number, bounded, behind another.
func (g *generator) indexed(base uint8, last int) (uint8, bool) {
	mask := 1
	for 2*mask+1 <= last {
		mask = 2*mask + 1
	}
	if g.slip() {
		mask = 2*mask + 1
	}
	index, ptr := g.any(), g.free()
	if index == ptr || ptr == base || g.keep[index] || index == base || g.regs[ptr].kind == value {
		return 0, false
	}
	g.add(andK(index, int32(mask)))
	g.set(index, uint64(mask))
	g.add(mov(ptr, base), alu(program.ClassAlu64, program.AluAdd, ptr, index))
	g.regs[ptr] = reg{}
	return ptr, true
}

var atomics = []int32{program.AluAdd, program.AluAdd | program.AtomicFetch, program.AluOr, program.AluAnd | program.AtomicFetch,
	program.AluXor, program.AtomicXchg, program.AtomicCmpXchg}

func (g *generator) atomically(base uint8, off, last int) {
	size := sizes[2+g.IntN(2)]
	n := bytesOf(size)
	off &^= n - 1
	if off > last || off+n > g.regs[base].size && !g.slip() {
		return
	}
	src, op := g.any(), atomics[g.IntN(len(atomics))]
	if g.keep[src] || op == program.AtomicCmpXchg && g.regs[program.R0].kind != number {
		return
	}
	g.add(atomic(size, base, src, off, op))
	if op&program.AtomicFetch != 0 && op != program.AtomicCmpXchg {
		g.set(src, ^uint64(0))
	}
	if op == program.AtomicCmpXchg {
		g.set(program.R0, ^uint64(0))
	}
}
