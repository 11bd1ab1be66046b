package program

import (
	"fmt"

	"github.com/ptracer/ptracer/failure"
)

// Validate checks a program's structure: instructions exist and have no value in unused fields (RFC
// 9669); functions are a partition and do not run into each other; jumps stay in their function;
// 64-bit loads are whole; calls lead to functions and known helpers; maps exist and can be made. It
// proves nothing about the program's effects, which package verify checks.
//
// Every program that it accepts can be traversed by index without further bounds checks,
// disassembled, and passed to the kernel.
func Validate(p *Program) error {
	for m := range p.Maps {
		if err := p.Maps[m].Check(); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	if len(p.Insns) == 0 {
		return p.refuse(-1, invalid("no instructions"))
	}
	v := validator{Program: p, kinds: make([]uint8, len(p.Insns))}
	if reason := v.cut(); reason != "" {
		return p.refuse(-1, invalid("%s", reason))
	}
	for i := 0; i < len(p.Insns); i++ {
		if what := kernelOnly[p.Insns[i].Op]; what != "" {
			return p.refuse(i, failure.Unsupportedf("%s", what))
		}
		if reason := v.fields(i); reason != "" {
			return p.refuse(i, invalid("%s", reason))
		}
		if err := v.refers(i); err != nil {
			return p.refuse(i, err)
		}
		if p.Insns[i].Wide() {
			i++
		}
	}
	return nil
}

// Kinds of places in a program.
const (
	second = 1 << iota // the second half of a 64-bit load
	start              // of a function
)

type validator struct {
	*Program
	kinds []uint8
	f     int // the function that the instruction is in
}

// cut checks the functions, and that no position has two meanings.
func (v *validator) cut() string {
	for i := 0; i < len(v.Insns); i++ {
		if !v.Insns[i].Wide() {
			continue
		}
		if i++; i == len(v.Insns) {
			return "the last instruction is half of a 64-bit load"
		}
		v.kinds[i] = second
	}
	if len(v.Funcs) == 0 || v.Funcs[0].Start != 0 {
		return "no function at the start"
	}
	before := -1
	for _, f := range v.Funcs {
		if f.Start <= before || f.Start >= len(v.Insns) {
			return fmt.Sprintf("function %s starts at %d, the one before at %d, and there are %d instructions", f.Name, f.Start, before, len(v.Insns))
		}
		if v.kinds[f.Start] == second {
			return fmt.Sprintf("function %s starts at %d, inside of a 64-bit load", f.Name, f.Start)
		}
		v.kinds[f.Start] |= start
		before = f.Start
	}
	return ""
}

// fields returns what is wrong with instruction i by itself.
func (v *validator) fields(i int) string {
	in := v.Insns[i]
	if in.Dst >= NumRegs || in.Src >= NumRegs {
		return "no such register"
	}
	reason := classes[in.Class()](in)
	if reason == "" && in.writesR10() {
		return "r10 is read only"
	}
	if reason == "" && in.Wide() {
		return v.wide(i)
	}
	return reason
}

// wide checks the second half of a 64-bit load, and what needs both halves.
func (v *validator) wide(i int) string {
	in, high := v.Insns[i], v.Insns[i+1]
	if high != (Insn{Imm: high.Imm}) {
		return reserved
	}
	switch in.Src {
	case PseudoNone:
		return ""
	case PseudoMap, PseudoFunc:
		if high.Imm != 0 {
			return reserved
		}
		return ""
	case PseudoMapValue:
		return ""
	}
	return fmt.Sprintf("no such 64-bit load: %d", in.Src)
}

// refers checks the targets that instruction i refers to: other instructions, maps, helpers.
func (v *validator) refers(i int) error {
	in := v.Insns[i]
	if i > 0 && v.kinds[i]&start != 0 {
		v.f++
	}
	width := 1
	if in.Wide() {
		width = 2
	}
	if to, ok := v.Callee(i); ok {
		if to < 0 || to >= len(v.Insns) || v.kinds[to]&start == 0 {
			return invalid("no function starts at %d", to)
		}
	} else if in.IsCall() && Helpers[in.Imm] == nil {
		return failure.Unsupportedf("helper %d", in.Imm)
	}
	switch {
	case in.IsJump() && !v.within(in.Target(i)):
		return invalid("jump to %d, which is not in its function", in.Target(i))
	case i+width == v.End(v.f) && !in.IsExit() && !in.Always():
		return invalid("the function's last instruction is neither exit nor jump")
	case in.Wide() && (in.Src == PseudoMap || in.Src == PseudoMapValue):
		if reason := v.mapLoad(i); reason != "" {
			return invalid("%s", reason)
		}
	}
	return nil
}

// within reports whether a jump in the current function may lead to an index.
func (v *validator) within(to int) bool {
	return to >= v.Funcs[v.f].Start && to < v.End(v.f) && v.kinds[to]&second == 0
}

// mapLoad checks a load of a map or of the address of its only value.
func (v *validator) mapLoad(i int) string {
	in := v.Insns[i]
	if in.Imm < 0 || int(in.Imm) >= len(v.Maps) {
		return fmt.Sprintf("map %d of %d", in.Imm, len(v.Maps))
	}
	m := &v.Maps[in.Imm]
	if in.Src == PseudoMap {
		return ""
	}
	if m.Type != Array || m.MaxEntries != 1 {
		return fmt.Sprintf("map %s has no only value", m.Name)
	}
	if off := uint32(v.Insns[i+1].Imm); off >= m.ValueSize {
		return fmt.Sprintf("offset %d in a value of %d bytes", off, m.ValueSize)
	}
	return ""
}
