package arm64

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// bytesOf returns the bytes of instructions.
func bytesOf(words ...uint32) []byte {
	var code []byte
	for _, w := range words {
		code = binary.LittleEndian.AppendUint32(code, w)
	}
	return code
}

func TestDecode(t *testing.T) {
	const at = 0x10000000
	for _, tt := range []struct {
		text   string
		word   uint32
		kind   arch.Kind
		target arch.Addr
	}{
		{"add x0, x1, x2", 0x8b020020, arch.KindOther, 0},
		{"nop", 0xd503201f, arch.KindNop, 0},
		{"yield", 0xd503203f, arch.KindNop, 0},
		{"dgh", 0xd50320df, arch.KindNop, 0},
		{"wfe", 0xd503205f, arch.KindOther, 0},
		{"sev", 0xd503209f, arch.KindOther, 0},
		{"xpaclri", 0xd50320ff, arch.KindOther, 0},
		{"paciasp", 0xd503233f, arch.KindOther, 0},
		{"autiasp", 0xd50323bf, arch.KindOther, 0},
		{"bti c", 0xd503245f, arch.KindOther, 0},
		{"b .-4", 0x17ffffff, arch.KindJump, at - 4},
		{"b .+0x7fffffc", 0x15ffffff, arch.KindJump, at + 0x7fffffc},
		{"bl .+8", 0x94000002, arch.KindCall, at + 8},
		{"b.eq .-0x100000", 0x54800000, arch.KindBranch, at - 0x100000},
		{"bc.ne .+4", 0x54000031, arch.KindBranch, at + 4},
		{"cbz w0, .+0xffffc", 0x347fffe0, arch.KindBranch, at + 0xffffc},
		{"cbnz x1, .-4", 0xb5ffffe1, arch.KindBranch, at - 4},
		{"tbz w2, #3, .+8", 0x36180042, arch.KindBranch, at + 8},
		{"tbnz x2, #35, .-0x8000", 0xb71c0002, arch.KindBranch, at - 0x8000},
		{"cbbge w5, w3, .-1024", 0x7423a005, arch.KindBranch, at - 1024},
		{"cblo w5, #31, .+1020", 0x756f9fe5, arch.KindBranch, at + 1020},
		{"cblt x5, #0, .-1024", 0xf5202005, arch.KindBranch, at - 1024},
		{"cb with condition 100", 0x74820401, arch.KindOther, 0},
		{"br x3", 0xd61f0060, arch.KindJumpIndirect, 0},
		{"braaz x3", 0xd61f087f, arch.KindJumpIndirect, 0},
		{"brab x3, sp", 0xd71f0c7f, arch.KindJumpIndirect, 0},
		{"blr x3", 0xd63f0060, arch.KindCallIndirect, 0},
		{"blrabz x3", 0xd63f0c7f, arch.KindCallIndirect, 0},
		{"blraa x3, x4", 0xd73f0864, arch.KindCallIndirect, 0},
		{"ret", 0xd65f03c0, arch.KindReturn, 0},
		{"ret x1", 0xd65f0020, arch.KindReturn, 0},
		{"retaa", 0xd65f0bff, arch.KindReturn, 0},
		{"retab", 0xd65f0fff, arch.KindReturn, 0},
		{"retaasppc .-16", 0x5500009f, arch.KindReturn, 0},
		{"svc #0", 0xd4000001, arch.KindSyscall, 0},
		{"svc #0xffff", 0xd41fffe1, arch.KindSyscall, 0},
		{"brk #1", 0xd4200020, arch.KindTrap, 0},
		{"hlt #0", 0xd4400000, arch.KindInvalid, 0},
		{"udf #0", 0x00000000, arch.KindInvalid, 0},
		{"udf #0xffff", 0x0000ffff, arch.KindInvalid, 0},
		{"hvc #0", 0xd4000002, arch.KindInvalid, 0},
	} {
		in, err := ISA.Decode(bytesOf(tt.word), at)
		want := arch.Inst{Len: 4, Kind: tt.kind, Target: tt.target}
		if err != nil || in != want {
			t.Errorf("%s (%08x): %+v, %v; want %+v", tt.text, tt.word, in, err, want)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	if _, err := ISA.Decode([]byte{0x1f, 0x20, 0x03}, 0); !errors.Is(err, errShort) {
		t.Errorf("3 bytes: %v", err)
	}
	if _, err := ISA.Decode(bytesOf(nop), 2); !errors.Is(err, errAlignment) {
		t.Errorf("odd address: %v", err)
	}
}

func TestTrap(t *testing.T) {
	if !ISA.IsTrap(ISA.Trap()) {
		t.Error("our trap is none")
	}
	for _, code := range [][]byte{nil, {0, 0, 0x20}, bytesOf(nop), bytesOf(0xd4400000)} {
		if ISA.IsTrap(code) {
			t.Errorf("% x is no trap", code)
		}
	}
	if !ISA.IsTrap(bytesOf(0xd43e0000)) { // brk #0xf000, clang's __builtin_debugtrap
		t.Error("brk #0xf000 is a trap")
	}
	if pc := ISA.TrapPC(0x1000); pc != 0x1000 {
		t.Errorf("brk leaves the PC on itself, not %v behind", pc)
	}
}

func TestRegisters(t *testing.T) {
	names := ISA.RegNames()
	if len(names) != ISA.NumRegs() || names[ISA.PCReg()] != "pc" || names[ISA.SPReg()] != "sp" || names[30] != "x30" {
		t.Errorf("names %q", names)
	}
	var r arch.Regs
	for i := range r {
		r[i] = uint64(100 + i)
	}
	for c, n := range map[arch.Convention]int{arch.C: 8, arch.GoRegisters: 16, arch.GoStack: 0, arch.NotKnown: 0} {
		for i := -1; i <= n; i++ {
			v, ok := ISA.Arg(c, &r, i)
			if in := i >= 0 && i < n; ok != in || in && v != uint64(100+i) {
				t.Errorf("%v: argument %d: %d, %v", c, i, v, ok)
			}
		}
	}
	if ISA.Result(&r) != 100 {
		t.Error("the result is in x0")
	}
}

// interesting returns words, most of them in the groups that matter.
func interesting(r *rand.Rand) uint32 {
	group := patterns[r.IntN(16)]
	if len(group) == 0 {
		return r.Uint32()
	}
	p := group[r.IntN(len(group))]
	w := p.bits | r.Uint32()&^p.mask
	if r.IntN(4) == 0 {
		w ^= 1 << r.IntN(32)
	}
	return w
}
