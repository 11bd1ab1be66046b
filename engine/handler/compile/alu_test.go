package compile

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// oracle is what an ALU instruction gives, after RFC 9669.
func oracle(in insn, dst, src uint64) uint64 {
	wide := in.Class() == program.ClassAlu64
	fn := in.Op & program.OpMask
	if in.Op&program.SrcMask == program.SrcK && fn != program.AluEnd {
		src = uint64(int64(in.Imm))
	}
	switch fn {
	case program.AluEnd:
		return swapped(in, dst)
	case program.AluMov:
		if in.Off != 0 {
			shift := 64 - uint(in.Off)
			src = uint64(int64(src<<shift) >> shift)
		}
		return narrow(wide, src)
	}
	if !wide {
		return uint64(oracle32(fn, in.Off == 1, uint32(dst), uint32(src)))
	}
	return oracle64(fn, in.Off == 1, dst, src)
}

func narrow(wide bool, v uint64) uint64 {
	if wide {
		return v
	}
	return uint64(uint32(v))
}

func swapped(in insn, v uint64) uint64 {
	reverse := in.Class() == program.ClassAlu64 || in.Op&program.SrcMask == program.SrcX
	shift := 64 - uint(in.Imm)
	if reverse {
		return bits.ReverseBytes64(v << shift)
	}
	return v << shift >> shift
}

func oracle64(fn uint8, signed bool, a, b uint64) uint64 {
	switch fn {
	case program.AluAdd:
		return a + b
	case program.AluSub:
		return a - b
	case program.AluMul:
		return a * b
	case program.AluOr:
		return a | b
	case program.AluAnd:
		return a & b
	case program.AluXor:
		return a ^ b
	case program.AluLsh:
		return a << (b & 63)
	case program.AluRsh:
		return a >> (b & 63)
	case program.AluArsh:
		return uint64(int64(a) >> (b & 63))
	case program.AluNeg:
		return -a
	case program.AluDiv:
		switch {
		case b == 0:
			return 0
		case signed:
			return uint64(int64(a) / int64(b)) // Go's result for the smallest number by -1 is the wanted one
		}
		return a / b
	}
	switch { // AluMod
	case b == 0:
		return a
	case signed:
		return uint64(int64(a) % int64(b))
	}
	return a % b
}

func oracle32(fn uint8, signed bool, a, b uint32) uint32 {
	switch fn {
	case program.AluLsh:
		return a << (b & 31)
	case program.AluRsh:
		return a >> (b & 31)
	case program.AluArsh:
		return uint32(int32(a) >> (b & 31))
	case program.AluDiv, program.AluMod:
		if signed {
			return uint32(oracle64(fn, true, uint64(int64(int32(a))), uint64(int64(int32(b)))))
		}
	}
	return uint32(oracle64(fn, false, uint64(a), uint64(b)))
}

// edges are operands where arithmetic has corners.
var edges = []uint64{
	0, 1, 2, 3, 31, 32, 33, 63, 64, 0x7f, 0x80, 0xff, 0x8000, 0xffff, math.MaxInt32, 1 << 31, math.MaxUint32, 1 << 32,
	math.MaxInt64, 1 << 63, math.MaxUint64, math.MaxUint64 - 1, 0x123456789abcdef0, 0xffffffff80000000, 0x80000000ffffffff,
}

// aluForms are all ALU instructions, with registers and immediates to be
// filled in.
func aluForms() (forms []insn) {
	for _, class := range []uint8{program.ClassAlu, program.ClassAlu64} {
		for fn := uint8(0); fn <= program.AluArsh; fn += 0x10 {
			if fn == program.AluNeg {
				forms = append(forms, insn{Op: class | fn})
				continue
			}
			offs := []int16{0}
			switch fn {
			case program.AluDiv, program.AluMod:
				offs = []int16{0, 1}
			case program.AluMov:
				offs = []int16{0, 8, 16, 32}
			}
			for _, off := range offs {
				if off <= 1 {
					forms = append(forms, insn{Op: class | fn, Off: off})
				}
				if off < 32 || class == program.ClassAlu64 {
					forms = append(forms, insn{Op: class | fn | program.SrcX, Off: off})
				}
			}
		}
		for _, size := range []int32{16, 32, 64} {
			forms = append(forms, insn{Op: class | program.AluEnd, Imm: size})
			if class == program.ClassAlu {
				forms = append(forms, insn{Op: class | program.AluEnd | program.SrcX, Imm: size})
			}
		}
	}
	return forms
}

// registersOf are pairs of registers worth trying: those that the machines'
// instructions make a difference of, and both the same.
var registersOf = [][2]uint8{{0, 0}, {0, 1}, {1, 0}, {3, 4}, {4, 3}, {3, 0}, {0, 3}, {4, 4}, {4, 6}, {6, 4}, {3, 3}, {7, 9}, {5, 8}, {6, 3}, {8, 0}}

var oneValue = []program.Map{{Name: "v", Type: program.Array, KeySize: 4, ValueSize: 128, MaxEntries: 1}}

// TestALU runs every ALU instruction on every pair of edges. Operands come
// from a map's value, so that nothing of them is known, and all registers are
// looked at.
func TestALU(t *testing.T) {
	r := newRunner(t)
	n := 0
	for _, form := range aluForms() {
		fn := form.Op & program.OpMask
		if form.Op&program.SrcMask == program.SrcK && fn != program.AluEnd && fn != program.AluNeg {
			for _, imm := range edges {
				n++
				form.Dst, form.Imm = registersOf[n%len(registersOf)][0], int32(imm)
				testALU(t, r, form, n)
			}
		} else {
			for _, pair := range registersOf {
				n++
				form.Dst, form.Src = pair[0], pair[1]
				if fn == program.AluEnd || fn == program.AluNeg {
					form.Src = 0
				}
				testALU(t, r, form, n)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// testALU runs in with all edges as operands.
func testALU(t *testing.T, r *runner, in insn, n int) {
	t.Helper()
	const base = 2 // no test uses it
	var code []insn
	for k := range uint8(10) {
		code = append(code, load64(k, uint64(k)*0x1111111111111111)...)
	}
	code = append(code, loadValue(base, 0, 0)...)
	code = append(code, ldx(program.SizeDW, in.Src, base, 8), ldx(program.SizeDW, in.Dst, base, 0), in)
	code = append(code, loadValue(base, 0, 0)...)
	for k := range uint8(10) {
		if k != base {
			code = append(code, stx(program.SizeDW, base, k, 16+int16(k)*8))
		}
	}
	code = append(code, exit())
	target := r.target(Target{Called: n%2 == 0, Maps: make([]Map, 1)})
	if leftOut(3) {
		return
	}
	c := r.load(accepted(host, code, oneValue), target)
	value := r.region()[64:]
	regs := randomRegs(rand.New(rand.NewPCG(uint64(n), 0)))
	others := edges
	if in.Src == in.Dst || in.Op&program.SrcMask == program.SrcK {
		others = edges[:1]
	}
	for _, a := range edges {
		for _, b := range others {
			want := [10]uint64{}
			for k := range want {
				want[k] = uint64(k) * 0x1111111111111111
			}
			want[in.Src], want[in.Dst] = b, a
			want[in.Dst] = oracle(in, a, want[in.Src])
			binary.LittleEndian.PutUint64(value, a)
			binary.LittleEndian.PutUint64(value[8:], b)
			if _, _, err := r.run(&regs); err != nil {
				t.Fatalf("%+v: %v\n% x", in, err, c.Bytes)
			}
			for k := range want {
				if got := binary.LittleEndian.Uint64(value[16+8*k:]); k != base && got != want[k] {
					t.Fatalf("%+v of %#x and %#x: r%d is %#x, not %#x\n% x", in, a, b, k, got, want[k], c.Bytes)
				}
			}
		}
	}
}
