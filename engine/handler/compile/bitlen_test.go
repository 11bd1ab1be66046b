package compile

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// bitLenInsns is the search for v's highest bit as package builtin writes it.
func bitLenInsns(n, rest, t, v uint8) []insn {
	const wide = program.ClassAlu64
	half := func(shift int32) []insn {
		return list(mov(t, rest), aluK(wide, program.AluRsh, t, shift), aluK(wide, program.AluNeg, t, 0), aluK(wide, program.AluRsh, t, 63))
	}
	code := list(mov(rest, v), mov(n, v), aluK(wide, program.AluNeg, n, 0), alu(wide, program.AluOr, n, v), aluK(wide, program.AluRsh, n, 63))
	for shift := int32(32); shift > 1; shift /= 2 {
		code = list(code, half(shift), aluK(wide, program.AluLsh, t, int32(bits.TrailingZeros32(uint32(shift)))),
			alu(wide, program.AluRsh, rest, t), alu(wide, program.AluAdd, n, t))
	}
	return list(code, half(1), alu(wide, program.AluAdd, n, t))
}

// TestBitLen runs the search, which is one instruction if its registers are not needed later, and
// near misses.
func TestBitLen(t *testing.T) {
	r := newRunner(t)
	values := []uint64{0}
	for n := range 64 {
		values = append(values, 1<<n, 1<<n-1, 1<<n|1, rand.Uint64()>>n)
	}
	for _, regs := range [][4]uint8{{1, 2, 3, 6}, {0, 4, 5, 7}, {8, 9, 0, 1}, {5, 3, 4, 0}} {
		n, rest, tmp, v := regs[0], regs[1], regs[2], regs[3]
		search := bitLenInsns(n, rest, tmp, v)
		for _, c := range []struct {
			what  string
			code  []insn
			keep  uint8 // is looked at
			whole bool
		}{
			{"the search", search, n, true},
			{"its rest is needed", search, rest, false},
			{"its last part is needed", search, tmp, false},
			{"a step is missing", list(search[:12], search[19:]), n, false},
			{"another shift", list(search[:6], aluK(program.ClassAlu64, program.AluRsh, tmp, 31), search[7:]), n, false},
		} {
			code := list(loadValue(v, 0, 0), ldx(program.SizeDW, v, v, 0), c.code, mov(n, c.keep))
			const base = 2 // none of those
			code = list(code, loadValue(base, 0, 0), stx(program.SizeDW, base, n, 8), movK(0, 0), exit())
			compiled := r.load(accepted(host, code, oneValue), r.target(Target{Called: true, Maps: make([]Map, 1)}))
			if short := len(compiled.Bytes) < 100; short != c.whole {
				t.Errorf("%v, %s: %d bytes", regs, c.what, len(compiled.Bytes))
			}
			area, frame := r.region()[64:], randomRegs(rand.New(rand.NewPCG(1, 2)))
			for _, x := range values {
				binary.LittleEndian.PutUint64(area, x)
				if _, _, err := r.run(&frame); err != nil {
					t.Fatalf("%v, %s: %v", regs, c.what, err)
				}
				if got := binary.LittleEndian.Uint64(area[8:]); c.whole && got != uint64(bits.Len64(x)) || got != interpreted(c.code, regs, c.keep, x) {
					t.Fatalf("%v, %s of %#x: %d", regs, c.what, x, got)
				}
			}
		}
	}
}

// interpreted is what a register is behind arithmetic on v.
func interpreted(code []insn, regs [4]uint8, keep uint8, v uint64) uint64 {
	var at [10]uint64
	at[regs[3]] = v
	for _, in := range code {
		at[in.Dst] = oracle(in, at[in.Dst], at[in.Src])
	}
	return at[keep]
}
