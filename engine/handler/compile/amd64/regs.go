package amd64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// reg is a register by its number in instructions.
type reg uint8

const (
	rax reg = iota
	rcx
	rdx
	rbx
	rsp
	rbp
	rsi
	rdi
	r8
	r9
	r10
	r11
	r12
	r13
	r14
	r15
	none reg = 0xff
)

// home has the machine registers of the program's registers: R1 to R5 where the System V calling
// convention passes arguments, R6 to R9 where it keeps values across calls. rbp keeps the program's
// value, so that frames can be walked meanwhile, and R10 is a distance from rsp.
var home = [program.R10]reg{rax, rdi, rsi, rdx, rcx, r8, rbx, r13, r14, r15}

// Registers that hold no value from one operation to the next.
const (
	scratch0 = r11
	scratch1 = r10
	scratch2 = r9
)

// word is the place of each register in arch.Regs (struct user_regs_struct).
var word = [16]int{10, 11, 12, 5, 19, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0}

// words returns the words of registers as a set.
func words(list ...reg) (w plan.Words) {
	for _, r := range list {
		w |= 1 << uint(word[r])
	}
	return w
}

// volatile has the registers that a helper may change.
var volatile = words(rax, rdi, rsi, rdx, rcx, r8, scratch0, scratch1, scratch2)

// holder returns the register that holds word w of the program's context, none if no register does.
func holder(w int) reg {
	for r, at := range word {
		if at == w && reg(r) != rsp {
			return reg(r)
		}
	}
	return none
}
