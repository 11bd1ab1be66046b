package randprog

import "github.com/ptracer/ptracer/engine/handler/program"

var conditions = []uint8{program.JmpEq, program.JmpGt, program.JmpGe, program.JmpSet, program.JmpNe, program.JmpSgt, program.JmpSge,
	program.JmpLt, program.JmpLe, program.JmpSlt, program.JmpSle}

// condition is a jump that goes nowhere yet.
func (g *generator) condition() insn {
	class := []uint8{program.ClassJmp, program.ClassJmp32}[g.IntN(2)]
	in := insn{Op: class | conditions[g.IntN(len(conditions))], Dst: g.any(), Imm: int32(g.Uint32() >> g.IntN(32))}
	if src := g.any(); src != in.Dst && g.IntN(2) == 0 { // the kernel's verifier can't compare a register with itself
		in.Op |= program.SrcX
		in.Src, in.Imm = src, 0
	}
	return in
}

// land makes the jump at index from lead to what comes next.
func (g *generator) land(from int) { g.code[from].Off = int16(len(g.code) - from - 1) }

// merge is what is known where two ways meet.
func (s *state) merge(o *state) {
	for r := range s.regs {
		a, b := &s.regs[r], o.regs[r]
		if a.kind != b.kind || a.size != b.size {
			*a = reg{}
		}
		a.max = max(a.max, b.max)
	}
	for i := range s.written {
		s.written[i] = s.written[i] && o.written[i]
	}
}

func (g *generator) branch(depth int) {
	in := g.condition()
	at := len(g.code)
	g.add(in)
	before := g.state
	g.block(1+g.IntN(4), depth+1)
	if g.IntN(3) > 0 {
		g.land(at)
		g.merge(&before)
		return
	}
	end := len(g.code)
	g.add(goTo())
	g.land(at)
	then := g.state
	g.state = before
	g.block(1+g.IntN(3), depth+1)
	g.land(end)
	g.merge(&then)
}

// counted is a loop of a few turns, in which numbers change only.
func (g *generator) counted(depth int) {
	var counter uint8
	for counter = 7; counter < 10 && (g.keep[counter] || g.regs[counter].kind == value || g.regs[counter].kind == record); counter++ {
	}
	if counter == 10 {
		return
	}
	g.any() // there is one to work with
	g.add(movK(counter, int32(1+g.IntN(6))))
	g.regs[counter] = reg{kind: number, max: ^uint64(0)}
	old := g.keep[counter]
	g.keep[counter] = true
	spare := g.free()
	g.constant(spare)
	for r := range g.regs {
		g.regs[r].max = ^uint64(0)
	}
	g.loop = true
	head := len(g.code)
	written := g.written
	g.block(1+g.IntN(4), depth+1)
	g.written = written
	g.loop = false
	if !g.slip() {
		g.add(addK(counter, -1))
	}
	g.add(insn{Op: program.ClassJmp | program.JmpNe, Dst: counter, Off: int16(head - len(g.code) - 1)})
	g.keep[counter] = old
	g.set(counter, 0)
}

// clobbered forgets what a call takes.
func (g *generator) clobbered() {
	for r := program.R0; r <= program.R5; r++ {
		g.regs[r] = reg{}
	}
}

// key puts a key for map m onto the stack.
func (g *generator) key(m int) {
	if Maps[m].KeySize == 8 {
		if r := g.any(); g.IntN(2) == 0 && !g.keep[r] {
			g.add(andK(r, 7))
			g.set(r, 7)
			g.add(stx(program.SizeDW, program.R10, r, keyAt))
		} else {
			g.add(st(program.SizeDW, program.R10, keyAt, int32(g.IntN(12))))
		}
		return
	}
	if r := g.any(); g.IntN(2) == 0 && !g.keep[r] {
		g.add(andK(r, 7))
		g.set(r, 7)
		g.add(stx(program.SizeW, program.R10, r, keyAt))
		return
	}
	g.add(st(program.SizeW, program.R10, keyAt, int32(g.IntN(6))))
}

// lookup looks a value up, and does something with it where it is there.
func (g *generator) lookup(depth int) {
	m := []int{Array, Array, PerCPU, Hash}[g.IntN(4)]
	if g.Plain {
		m = Array
	}
	to := uint8(7 + g.IntN(3))
	if g.keep[to] || g.regs[to].kind == record {
		return
	}
	if !g.slip() {
		g.key(m)
	}
	g.add(loadMap(program.R1, m)...)
	g.add(mov(program.R2, program.R10), addK(program.R2, keyAt), call(program.FnMapLookup))
	g.clobbered()
	if g.slip() { // no check
		g.add(mov(to, program.R0))
		g.regs[to] = reg{kind: value, size: int(Maps[m].ValueSize)}
		return
	}
	at := len(g.code)
	g.add(insn{Op: program.ClassJmp | program.JmpEq, Dst: program.R0})
	before := g.state
	before.regs[to] = reg{}
	g.add(mov(to, program.R0))
	g.regs[to] = reg{kind: value, size: int(Maps[m].ValueSize)}
	g.keep[to] = true
	for range 1 + g.IntN(4) {
		g.valueAccess()
	}
	g.block(g.IntN(3), depth+1)
	g.keep[to] = false
	g.land(at)
	g.merge(&before)
	g.regs[to] = reg{}
}

// change updates or deletes an entry.
func (g *generator) change() {
	m := []int{Array, Hash, Hash}[g.IntN(3)]
	g.key(m)
	for off := 0; off < int(Maps[m].ValueSize); off += 8 {
		if g.IntN(2) == 0 {
			g.add(stx(program.SizeDW, program.R10, g.any(), valueAt+off))
		} else {
			g.add(st(program.SizeDW, program.R10, valueAt+off, int32(g.Uint32())))
		}
	}
	g.add(loadMap(program.R1, m)...)
	g.add(mov(program.R2, program.R10), addK(program.R2, keyAt))
	helper := int32(program.FnMapDelete)
	if m == Array || g.IntN(3) > 0 {
		helper = program.FnMapUpdate
		g.add(mov(program.R3, program.R10), addK(program.R3, valueAt), movK(program.R4, int32(g.IntN(3))))
	}
	g.add(call(helper))
	g.clobbered()
	g.set(program.R0, ^uint64(0))
}

// output writes a record, or gives it up.
func (g *generator) output() {
	to := uint8(7 + g.IntN(3))
	if g.keep[to] || g.regs[to].kind == record {
		return
	}
	n := int32(8 * (1 + g.IntN(4)))
	g.add(loadMap(program.R1, Ring)...)
	g.add(movK(program.R2, n), movK(program.R3, 0), call(program.FnRingbufReserve))
	g.clobbered()
	at := len(g.code)
	g.add(insn{Op: program.ClassJmp | program.JmpEq, Dst: program.R0})
	before := g.state
	before.regs[to] = reg{}
	g.add(mov(to, program.R0))
	g.regs[to] = reg{}
	for off := int32(0); off < n; off += 8 { // what it held before is nobody's
		if g.IntN(2) == 0 {
			g.add(st(program.SizeDW, to, int(off), int32(g.Uint32())))
		} else {
			g.add(stx(program.SizeDW, to, g.any(), int(off)))
			if g.regs[to].kind != unset { // it was taken for a number
				return
			}
		}
	}
	g.add(mov(program.R1, to), movK(program.R2, 0))
	if !g.slip() {
		g.add(call([]int32{program.FnRingbufSubmit, program.FnRingbufSubmit, program.FnRingbufDiscard}[g.IntN(3)]))
	}
	g.clobbered()
	g.regs[to] = reg{}
	g.land(at)
	g.merge(&before)
	g.clobbered()
}

// subprogram calls one of the program's own functions with two numbers.
func (g *generator) subprogram() {
	a, b := g.any(), g.any()
	if a == program.R2 {
		a, b = b, a
	}
	if a == program.R2 && b == program.R2 || b == program.R1 {
		return
	}
	if a != program.R1 {
		g.add(mov(program.R1, a))
	}
	if b != program.R2 {
		g.add(mov(program.R2, b))
	}
	g.calls = append(g.calls, len(g.code))
	g.add(insn{Op: program.ClassJmp | program.JmpCall, Src: program.CallFunc})
	g.clobbered()
	g.set(program.R0, ^uint64(0))
}
