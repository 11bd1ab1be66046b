package program

import "fmt"

// Callee returns the index of the function that instruction i, a call or a load of a function,
// refers to; false for other instructions.
func (p *Program) Callee(i int) (int, bool) {
	in := p.Insns[i]
	if in.IsCall() && in.Src == CallFunc || in.Wide() && in.Src == PseudoFunc {
		return i + 1 + int(in.Imm), true
	}
	return 0, false
}

// findFuncs divides the instructions into functions, at the targets of references. names has the
// known names by index; other functions are named after their start.
func (p *Program) findFuncs(names map[int]string) error {
	starts := make([]bool, len(p.Insns)+1)
	for i := 0; i < len(p.Insns); i++ {
		to, ok := p.Callee(i)
		if ok && (to < 0 || to >= len(p.Insns)) {
			return p.refuse(i, invalid("function outside of the program: it would start at %d", to))
		}
		starts[to] = starts[to] || ok
		if p.Insns[i].Wide() {
			i++
		}
	}
	p.Funcs = []Func{{Name: p.Name}}
	for i := 1; i < len(p.Insns); i++ {
		if !starts[i] {
			continue
		}
		name := names[i]
		if name == "" {
			name = fmt.Sprintf("func_%d", i)
		}
		p.Funcs = append(p.Funcs, Func{name, i})
	}
	return nil
}
