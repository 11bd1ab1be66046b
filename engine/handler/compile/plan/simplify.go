package plan

import (
	"math/bits"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// simplify replaces arithmetic with certain constants by simpler operations: division by 0, which
// gives 0, modulo 0, which changes nothing, and powers of two.
func (o *Op) simplify() {
	if o.Kind != Alu || !o.UsesImm() {
		return
	}
	n := uint64(o.Imm)
	power := n != 0 && n&(n-1) == 0
	shift := int64(bits.TrailingZeros64(n))
	switch {
	case o.Fn == program.AluDiv && n == 0:
		o.Kind = Const
	case o.Fn == program.AluMod && n == 0:
		o.Kind, o.Src = Move, o.Dst
	case !power || o.Signed:
	case o.Fn == program.AluMul:
		o.Fn, o.Imm = program.AluLsh, shift
	case o.Fn == program.AluDiv:
		o.Fn, o.Imm = program.AluRsh, shift
	case o.Fn == program.AluMod && (n-1)>>31 == 0: // fits an immediate
		o.Fn, o.Imm = program.AluAnd, int64(n-1)
	}
}
