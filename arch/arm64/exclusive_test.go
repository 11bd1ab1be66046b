package arm64

import (
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

const (
	ldxr   = 0x885f7c20 // ldxr w0, [x1]
	ldaxr  = 0xc85ffc20 // ldaxr x0, [x1]
	ldxp   = 0xc87f0820 // ldxp x0, x2, [x1]
	stxr   = 0x88027c20 // stxr w2, w0, [x1]
	stlxr  = 0xc802fc20 // stlxr w2, x0, [x1]
	stxp   = 0xc8230820 // stxp w3, x0, x2, [x1]
	casp   = 0x48207c22 // casp x0, x1, x2, x3, [x1]
	ldar   = 0xc8dffc20 // ldar x0, [x1]
	clrex  = 0xd5033f5f
	add    = 0x11000400 // add w0, w0, #1
	cmp    = 0x6b04001f // cmp w0, w4
	retX30 = 0xd65f03c0
	bl0    = 0x94000000
)

// bne is b.ne by n instructions, cbnz is cbnz w2 and jmp is b.
func bne(n int) uint32  { return encRetarget(formCond, 0x54000001, 4*n) }
func cbnz(n int) uint32 { return encRetarget(formZero, 0x35000002, 4*n) }
func jmp(n int) uint32  { return encBranch(4 * int64(n)) }

func TestExclusive(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []uint32
		want string // of each instruction: digit = start, . = not inside
	}{
		{"add loop", []uint32{nop, ldxr, add, stxr, cbnz(-3), retX30}, "..11.."},
		{"compare and swap", []uint32{ldaxr, cmp, bne(3), stlxr, cbnz(-4), retX30}, ".000.."},
		{"pair", []uint32{ldxp, add, stxp, retX30}, ".00."},
		{"fails through clrex", []uint32{ldxr, cmp, bne(4), stxr, cbnz(-4), retX30, clrex, retX30}, ".000...."},
		{"store out of line", []uint32{ldxr, cmp, bne(3), clrex, retX30, add, stxr, cbnz(-7), retX30}, ".00..00.."},
		{"store in front of its load", []uint32{stxr, retX30, ldxr, add, jmp(-4)}, "2..22"},
		{"loop inside", []uint32{ldxr, add, cbnz(-1), stxr}, ".000"},
		{"second load", []uint32{ldxr, add, ldaxr, add, stlxr, retX30}, "...22."},
		{"no store", []uint32{ldxr, add, retX30, stxr}, "...."},
		{"no load", []uint32{add, stxr, retX30}, "..."},
		{"clrex between", []uint32{ldxr, add, clrex, add, stxr}, "....."},
		{"call between", []uint32{ldxr, add, bl0, add, stxr}, "....."},
		{"trap between", []uint32{ldxr, add, trap, stxr}, "...."},
		{"casp and ldar are none", []uint32{ldar, add, casp, add}, "...."},
		{"casp inside", []uint32{ldxr, casp, stxr}, ".00"},
		{"cut off", []uint32{ldxr, add}, ".."},
	} {
		const base = 0x1000
		code := append(bytesOf(tt.code...), 0x20)
		for i, c := range tt.want {
			start, inside := ISA.Exclusive(code, base, base+arch.Addr(4*i))
			if inside != (c != '.') || inside && start != base+arch.Addr(4*(c-'0')) {
				t.Errorf("%s: instruction %d: %v, %v; want %c", tt.name, i, start, inside, c)
			}
		}
	}
}

func TestExclusiveFar(t *testing.T) {
	code := []uint32{ldxr}
	for range exclusiveReach - 2 {
		code = append(code, add)
	}
	code = append(code, stxr)
	if start, inside := ISA.Exclusive(bytesOf(code...), 0, 4); !inside || start != 0 {
		t.Errorf("31 instructions apart: %v, %v", start, inside)
	}
	for _, at := range []arch.Addr{1, 2, 4 * exclusiveReach, 1 << 63, ^arch.Addr(3)} {
		if _, inside := ISA.Exclusive(bytesOf(code...), 0, at); inside {
			t.Errorf("inside at %v", at)
		}
	}
	if _, inside := ISA.Exclusive(bytesOf(code...), 0x1000, 0xffc); inside {
		t.Error("inside in front of the code")
	}
}

func FuzzExclusive(f *testing.F) {
	f.Add(bytesOf(ldxr, add, stxr, cbnz(-3)), uint64(0x1000), uint64(0x1004))
	f.Fuzz(func(t *testing.T, code []byte, base, at uint64) {
		start, inside := ISA.Exclusive(code, arch.Addr(base), arch.Addr(at))
		if !inside {
			return
		}
		w := walker{code, arch.Addr(base)}
		if inst, ok := w.inst(start); !ok || !isLoadExclusive(inst) || start == arch.Addr(at) {
			t.Errorf("%v is said to start at %v", at, start)
		}
		if inst, _ := w.inst(arch.Addr(at)); isLoadExclusive(inst) {
			t.Errorf("a load can take a trap")
		}
	})
}

func BenchmarkExclusive(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	var code []byte
	for range 1000 {
		code = append(code, bytesOf(interesting(r))...)
	}
	for i := 0; b.Loop(); i++ {
		ISA.Exclusive(code, 0, arch.Addr(4*(i%1000)))
	}
}
