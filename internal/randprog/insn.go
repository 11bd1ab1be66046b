package randprog

import "github.com/ptracer/ptracer/engine/handler/program"

type insn = program.Insn

func alu(class, op, dst, src uint8) insn {
	return insn{Op: class | op | program.SrcX, Dst: dst, Src: src}
}

func aluK(class, op, dst uint8, imm int32) insn { return insn{Op: class | op, Dst: dst, Imm: imm} }

func mov(dst, src uint8) insn         { return alu(program.ClassAlu64, program.AluMov, dst, src) }
func movK(dst uint8, imm int32) insn  { return aluK(program.ClassAlu64, program.AluMov, dst, imm) }
func addK(dst uint8, imm int32) insn  { return aluK(program.ClassAlu64, program.AluAdd, dst, imm) }
func andK(dst uint8, imm int32) insn  { return aluK(program.ClassAlu64, program.AluAnd, dst, imm) }
func goTo() insn                      { return insn{Op: program.ClassJmp | program.JmpA} }
func call(helper int32) insn          { return insn{Op: program.ClassJmp | program.JmpCall, Imm: helper} }
func exit() insn                      { return insn{Op: program.ClassJmp | program.JmpExit} }
func loadMap(dst uint8, m int) []insn { return wide(dst, program.PseudoMap, int32(m), 0) }

func wide(dst, kind uint8, low, high int32) []insn {
	return []insn{{Op: program.ClassLd | program.SizeDW, Dst: dst, Src: kind, Imm: low}, {Imm: high}}
}

func ldx(size, mode, dst, src uint8, off int) insn {
	return insn{Op: program.ClassLdx | size | mode, Dst: dst, Src: src, Off: int16(off)}
}

func stx(size, dst, src uint8, off int) insn {
	return insn{Op: program.ClassStx | size | program.ModeMem, Dst: dst, Src: src, Off: int16(off)}
}

func st(size, dst uint8, off int, imm int32) insn {
	return insn{Op: program.ClassSt | size | program.ModeMem, Dst: dst, Off: int16(off), Imm: imm}
}

func atomic(size, dst, src uint8, off int, op int32) insn {
	return insn{Op: program.ClassStx | size | program.ModeAtomic, Dst: dst, Src: src, Off: int16(off), Imm: op}
}

var sizes = []uint8{program.SizeB, program.SizeH, program.SizeW, program.SizeDW}

func bytesOf(size uint8) int { return insn{Op: size}.Size() }
