package compile

import (
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

type insn = program.Insn

// The instructions of test programs.

func alu(class, fn, dst, src uint8) insn {
	return insn{Op: class | fn | program.SrcX, Dst: dst, Src: src}
}

func aluK(class, fn, dst uint8, imm int32) insn {
	return insn{Op: class | fn, Dst: dst, Imm: imm}
}

func mov(dst, src uint8) insn { return alu(program.ClassAlu64, program.AluMov, dst, src) }

func movK(dst uint8, imm int32) insn { return aluK(program.ClassAlu64, program.AluMov, dst, imm) }

func addK(dst uint8, imm int32) insn { return aluK(program.ClassAlu64, program.AluAdd, dst, imm) }

func load64(dst uint8, v uint64) []insn {
	return []insn{{Op: program.SizeDW, Dst: dst, Imm: int32(v)}, {Imm: int32(v >> 32)}}
}

func loadMap(dst uint8, i int32) []insn {
	return []insn{{Op: program.SizeDW, Dst: dst, Src: program.PseudoMap, Imm: i}, {}}
}

func loadValue(dst uint8, i, off int32) []insn {
	return []insn{{Op: program.SizeDW, Dst: dst, Src: program.PseudoMapValue, Imm: i}, {Imm: off}}
}

func loadFunc(dst uint8, rel int32) []insn {
	return []insn{{Op: program.SizeDW, Dst: dst, Src: program.PseudoFunc, Imm: rel}, {}}
}

func ldx(size, dst, src uint8, off int16) insn {
	return insn{Op: program.ClassLdx | program.ModeMem | size, Dst: dst, Src: src, Off: off}
}

func ldxs(size, dst, src uint8, off int16) insn {
	return insn{Op: program.ClassLdx | program.ModeMemSX | size, Dst: dst, Src: src, Off: off}
}

func stx(size, dst, src uint8, off int16) insn {
	return insn{Op: program.ClassStx | program.ModeMem | size, Dst: dst, Src: src, Off: off}
}

func st(size, dst uint8, off int16, imm int32) insn {
	return insn{Op: program.ClassSt | program.ModeMem | size, Dst: dst, Off: off, Imm: imm}
}

func atomic(size, dst, src uint8, off int16, fn int32) insn {
	return insn{Op: program.ClassStx | program.ModeAtomic | size, Dst: dst, Src: src, Off: off, Imm: fn}
}

func jump(class, fn, dst, src uint8, off int16) insn {
	return insn{Op: class | fn | program.SrcX, Dst: dst, Src: src, Off: off}
}

func jumpK(class, fn, dst uint8, imm int32, off int16) insn {
	return insn{Op: class | fn, Dst: dst, Imm: imm, Off: off}
}

func goTo(off int16) insn { return insn{Op: program.ClassJmp | program.JmpA, Off: off} }

func call(num int32) insn { return insn{Op: program.ClassJmp | program.JmpCall, Imm: num} }

func callFunc(rel int32) insn {
	return insn{Op: program.ClassJmp | program.JmpCall, Src: program.CallFunc, Imm: rel}
}

func exit() insn { return insn{Op: program.ClassJmp | program.JmpExit} }

// list joins instructions and lists of them.
func list(parts ...any) (l []insn) {
	for _, p := range parts {
		switch p := p.(type) {
		case insn:
			l = append(l, p)
		case []insn:
			l = append(l, p...)
		}
	}
	return l
}

// accepted is what the verifier would say of a program with these
// instructions, without facts about accesses; funcs are where functions start.
func accepted(arch string, insns []insn, maps []program.Map, funcs ...int) *verify.Result {
	context, err := program.ContextOf(arch)
	if err != nil {
		panic(err)
	}
	p := &program.Program{Name: "test", Insns: insns, Maps: maps, Funcs: []program.Func{{Name: "main"}}}
	for _, f := range funcs {
		p.Funcs = append(p.Funcs, program.Func{Name: "f", Start: f})
	}
	r := &verify.Result{Program: p, Context: context, Facts: make([]verify.Fact, len(insns)), Stack: make([]int, len(p.Funcs))}
	for f := range r.Stack {
		r.Stack[f] = program.StackSize
	}
	for i := range insns {
		r.Facts[i].Reached = i == 0 || !insns[i-1].Wide()
		r.Facts[i].Map = -1
	}
	return r
}

// archs are the instruction sets.
var archs = []string{"amd64", "arm64"}

var array = []program.Map{{Name: "a", Type: program.Array, KeySize: 4, ValueSize: 24, MaxEntries: 5}}
