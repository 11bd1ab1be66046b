package verify

import "github.com/ptracer/ptracer/engine/handler/program"

// regSet has bit r for register r.
type regSet uint16

func bit(r uint8) regSet { return 1 << r }

const (
	callArgs regSet = 1<<program.R1 | 1<<program.R2 | 1<<program.R3 | 1<<program.R4 | 1<<program.R5
	volatile        = callArgs | 1<<program.R0 // gone after calls
)

// uses has for each instruction the registers that the instruction or code behind it reads: all of
// them, and those with a number that affects what the verifier permits. A counter that only ends up
// in a map does not affect that, so only one of two paths that differ in it needs to be followed.
type uses struct {
	live, matter []regSet
}

// effect is the effect of an instruction on registers.
type effect struct {
	sets  regSet
	reads regSet
	exact regSet // reads with a number that matters by itself
	flows bool   // the number that is set depends on the numbers that are read
}

func findUses(p *program.Program) uses {
	u := uses{make([]regSet, len(p.Insns)+1), make([]regSet, len(p.Insns)+1)}
	effects := make([]effect, len(p.Insns))
	for i := range p.Insns {
		effects[i] = effectOf(p, i)
	}
	for again := true; again; {
		again = false
		for i := len(p.Insns) - 1; i >= 0; i-- {
			again = u.back(p, i, &effects[i]) || again
			if i > 1 && p.Insns[i-2].Wide() {
				i--
			}
		}
	}
	return u
}

// back carries the uses behind instruction i to before it.
func (u *uses) back(p *program.Program, i int, e *effect) (news bool) {
	fall, to := next(p, i)
	live, matter := regSet(0), regSet(0)
	for _, n := range [2]int{fall, to} {
		if n >= 0 {
			live, matter = live|u.live[n], matter|u.matter[n]
		}
	}
	reads, exact := e.reads, e.exact
	if e.flows && matter&e.sets != 0 {
		exact |= e.reads
	}
	if start, ok := p.Callee(i); ok && p.Insns[i].IsCall() {
		reads, exact = u.live[start]&callArgs, u.matter[start]&callArgs
	}
	live, matter = live&^e.sets|reads, matter&^e.sets|exact
	news = live != u.live[i] || matter != u.matter[i]
	u.live[i], u.matter[i] = live, matter
	return news
}

func effectOf(p *program.Program, i int) effect {
	in := p.Insns[i]
	switch in.Class() {
	case program.ClassAlu, program.ClassAlu64:
		return aluEffect(in)
	case program.ClassLd:
		return effect{sets: bit(in.Dst)}
	case program.ClassLdx:
		return effect{sets: bit(in.Dst), reads: bit(in.Src), exact: bit(in.Src)}
	case program.ClassSt:
		return effect{reads: bit(in.Dst), exact: bit(in.Dst)}
	case program.ClassStx:
		return storeEffect(in)
	}
	switch {
	case in.IsExit() && p.FuncAt(i) == 0:
		return effect{reads: bit(program.R0)}
	case in.IsExit():
		return effect{reads: bit(program.R0), exact: bit(program.R0)}
	case in.IsCall():
		return callEffect(in)
	case in.Always():
		return effect{}
	}
	reads := bit(in.Dst)
	if in.Op&program.SrcMask == program.SrcX {
		reads |= bit(in.Src)
	}
	return effect{reads: reads, exact: reads}
}

func aluEffect(in program.Insn) effect {
	op := in.Op & program.OpMask
	e := effect{sets: bit(in.Dst), reads: bit(in.Dst), flows: true}
	if op == program.AluMov {
		e.reads = 0
	}
	if in.Op&program.SrcMask == program.SrcX && op != program.AluEnd {
		e.reads |= bit(in.Src)
	}
	return e
}

func storeEffect(in program.Insn) effect {
	e := effect{reads: bit(in.Dst) | bit(in.Src)}
	if in.Op&program.ModeMask == program.ModeAtomic {
		switch {
		case in.Imm == program.AtomicLoad:
			return effect{sets: bit(in.Dst), reads: bit(in.Src), exact: bit(in.Src)}
		case in.Imm == program.AtomicCmpXchg:
			e.reads |= bit(program.R0)
			e.sets = bit(program.R0)
		case in.Imm != program.AtomicStore && in.Imm&program.AtomicFetch != 0:
			e.sets = bit(in.Src)
		}
	}
	e.exact = e.reads
	return e
}

func callEffect(in program.Insn) effect {
	e := effect{sets: volatile}
	if in.Src == program.CallFunc {
		return e
	}
	for n, kind := range program.Helpers[in.Imm].Args {
		r := bit(uint8(program.R1 + n))
		e.reads |= r
		if kind != program.ArgAny && kind != program.ArgAddr || in.Imm == program.FnLoop {
			e.exact |= r
		}
	}
	return e
}
