// Package randprog makes random handlers, for tests of verifiers and executors
// against each other: with branches, loops, calls, a stack, and maps.
//
// A program is made step by step, with an idea of what each register holds, so
// that most of it makes sense; with Sloppy it makes the mistakes that people
// make: forgets a null check, is off by one, takes what was never set. Who
// accepts what is the verifiers' business. It is for tests only.
package randprog

import (
	"math/rand/v2"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Options say what programs are like.
type Options struct {
	Steps  int     // about as many instructions, without what belongs to them
	Sloppy float64 // of the steps are wrong in some way
	Plain  bool    // no helpers but lookups in arrays
}

// The maps of all programs.
const (
	Array = iota
	Hash
	PerCPU
	Ring
)

// Maps are what the programs' maps are like.
var Maps = []program.Map{
	Array:  {Name: "array", Type: program.Array, KeySize: 4, ValueSize: 48, MaxEntries: 4},
	Hash:   {Name: "hash", Type: program.Hash, KeySize: 8, ValueSize: 16, MaxEntries: 8},
	PerCPU: {Name: "percpu", Type: program.PerCPUArray, KeySize: 4, ValueSize: 24, MaxEntries: 2},
	Ring:   {Name: "ring", Type: program.RingBuf, MaxEntries: 1 << 16},
}

// ContextWords is how many words of the context programs look at.
const ContextWords = 8

// kind is what a register holds.
type kind uint8

const (
	unset kind = iota
	number
	context
	value // of a map
	record
)

// reg is what the generator thinks of a register.
type reg struct {
	kind kind
	max  uint64 // of a number, ^0: anything
	size int    // of what is pointed to
}

// state is what is known at a place.
type state struct {
	regs    [program.NumRegs]reg
	written [frame]bool // bytes of the stack
}

// frame is how much of the stack is used; keys lie below it.
const frame = 64

// Places below the frame: a key, and a value.
const (
	keyAt   = -frame - 8
	valueAt = -frame - 8 - 48
)

type generator struct {
	*rand.Rand
	Options
	state
	code  []insn
	loop  bool // only numbers change
	keep  [program.NumRegs]bool
	calls []int // of subprograms, to be linked
}

// New makes a program from a seed.
func New(seed uint64, o Options) *program.Program {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1234)), Options: o}
	g.regs[program.R1] = reg{kind: context}
	g.regs[program.R10] = reg{kind: context} // not to be touched
	g.keep[program.R6] = true
	g.add(mov(program.R6, program.R1))
	g.regs[program.R6] = reg{kind: context}
	g.regs[program.R1] = reg{}
	for range 2 + g.IntN(3) {
		g.contextLoad(g.free())
	}
	g.block(o.Steps, 0)
	g.finish()
	p := &program.Program{Name: "random", Maps: Maps, Funcs: []program.Func{{Name: "random"}}}
	g.link(p)
	return p
}

func (g *generator) add(in ...insn) { g.code = append(g.code, in...) }

// slip is whether a mistake is made now.
func (g *generator) slip() bool { return g.Float64() < g.Sloppy }

// any is a register that holds a number, set if need be.
func (g *generator) any() uint8 {
	if g.slip() {
		return uint8(g.IntN(10))
	}
	var list []uint8
	for r := range uint8(10) {
		if g.regs[r].kind == number {
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		r := g.free()
		g.constant(r)
		return r
	}
	return list[g.IntN(len(list))]
}

// free is a register that may be overwritten.
func (g *generator) free() uint8 {
	for {
		r := uint8(g.IntN(10))
		if !g.keep[r] && (!g.loop || g.regs[r].kind == number) && g.regs[r].kind != record {
			return r
		}
		if g.loop {
			for r := range uint8(10) {
				if !g.keep[r] && g.regs[r].kind == number {
					return r
				}
			}
			return program.R0 // nobody has seen a loop without
		}
	}
}

func (g *generator) set(r uint8, max uint64) {
	if g.loop {
		max = ^uint64(0)
	}
	g.regs[r] = reg{kind: number, max: max}
}

func (g *generator) constant(r uint8) {
	switch g.IntN(3) {
	case 0:
		g.add(wide(r, program.PseudoNone, int32(g.Uint32()), int32(g.Uint32()))...)
		g.set(r, ^uint64(0))
	case 1:
		v := int32(g.IntN(64))
		g.add(movK(r, v))
		g.set(r, uint64(v))
	default:
		g.add(movK(r, int32(g.Uint32()>>g.IntN(32))))
		g.set(r, ^uint64(0))
	}
}

func (g *generator) contextLoad(r uint8) {
	off := 8 * g.IntN(ContextWords)
	if g.slip() {
		off = []int{-8, g.IntN(8 * ContextWords), 8 * (40 + g.IntN(9))}[g.IntN(3)]
	}
	g.add(ldx(program.SizeDW, program.ModeMem, r, program.R6, off))
	g.set(r, ^uint64(0))
}

// block adds about n steps.
func (g *generator) block(n, depth int) {
	for range n {
		if depth < 3 && !g.loop && g.IntN(6) == 0 {
			g.nested(depth)
			continue
		}
		g.step()
	}
}

func (g *generator) nested(depth int) {
	switch pick := g.IntN(8); {
	case pick < 3:
		g.branch(depth)
	case pick == 3:
		g.counted(depth)
	case pick < 7 || g.Plain:
		g.lookup(depth)
	default:
		g.subprogram()
	}
}

func (g *generator) step() {
	switch pick := g.IntN(20); {
	case pick < 8:
		g.arithmetic()
	case pick < 10:
		g.contextLoad(g.free())
	case pick < 11:
		g.constant(g.free())
	case pick < 13:
		g.store()
	case pick < 15:
		g.load()
	case pick < 17:
		g.valueAccess()
	case pick < 18 && !g.loop && !g.Plain:
		g.change()
	case pick < 19 && !g.loop && !g.Plain:
		g.output()
	default:
		g.extend()
	}
}

// finish mixes what is left into R0 and ends.
func (g *generator) finish() {
	if g.regs[program.R0].kind != number {
		if !g.slip() {
			g.add(movK(program.R0, 7))
		}
	}
	for r := uint8(1); r < 10; r++ {
		if g.regs[r].kind == number && r != program.R0 {
			g.add(alu(program.ClassAlu64, program.AluXor, program.R0, r))
			g.add(aluK(program.ClassAlu64, program.AluMul, program.R0, 31))
		}
	}
	g.add(exit())
}

// link puts subprograms behind the program: each gives a mix of its arguments.
func (g *generator) link(p *program.Program) {
	p.Insns = g.code
	for i, at := range g.calls {
		p.Insns[at].Imm = int32(len(p.Insns) - at - 1)
		p.Funcs = append(p.Funcs, program.Func{Name: "sub" + string(rune('a'+i%26)) + string(rune('a'+i/26)), Start: len(p.Insns)})
		p.Insns = append(p.Insns,
			mov(program.R0, program.R1),
			insn{Op: program.ClassJmp | program.JmpGt | program.SrcX, Dst: program.R1, Src: program.R2, Off: 2},
			alu(program.ClassAlu64, program.AluAdd, program.R0, program.R2),
			exit(),
			stx(program.SizeDW, program.R10, program.R2, -8),
			ldx(program.SizeW, program.ModeMem, program.R3, program.R10, -8),
			alu(program.ClassAlu, program.AluSub, program.R0, program.R3),
			exit(),
		)
	}
}
