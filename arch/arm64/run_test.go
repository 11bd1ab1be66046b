package arm64

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

func code32(w ...uint32) (b []byte) {
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// TestRun checks which instructions a jump can replace.
func TestRun(t *testing.T) {
	for w, ok := range map[uint32]bool{
		0xa9bf7bfd: true,  // stp x29, x30, [sp, #-16]!
		0xf9400b90: true,  // ldr x16, [x28, #16]: how Go functions begin
		0x94000001: true,  // bl
		0x58000040: true,  // ldr x0, +8
		0xd65f03c0: true,  // ret
		0xd503201f: true,  // nop
		0xd4200000: false, // brk
		0xd4000001: false, // svc
	} {
		list, err := ISA.Run(code32(w), 0x1000, ISA.JumpLen())
		if ok != (err == nil) || err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%08x: %v", w, err)
		}
		if err != nil {
			continue
		}
		b, one := arch.Buffer{Addr: 0x9000}, arch.Buffer{Addr: 0x9000}
		slot, err := ISA.RelocateRun(&b, code32(w), 0x1000, list, nil)
		if _, err2 := ISA.Relocate(&one, code32(w), 0x1000); err != nil || err2 != nil || string(b.Code) != string(one.Code) {
			t.Errorf("%08x: % x, %v, %v", w, b.Code, err, err2)
		}
		if slot.Len != len(b.Code) {
			t.Errorf("%08x: %+v", w, slot)
		}
	}
	if _, err := ISA.Run(code32(0xd503201f, 0xd503201f), 0, 8); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := ISA.Run([]byte{1}, 0, 4); err == nil {
		t.Error("a run of one byte")
	}
}

// TestRunPad displaces landing pads together with the instruction behind them.
func TestRunPad(t *testing.T) {
	const next = 0xa9bf7bfd // stp x29, x30, [sp, #-16]!
	for pad, undo := range map[uint32]uint32{0xd503233f: 0xd50323bf, 0xd503237f: 0xd50323ff, 0xd503245f: 0, 0xd503249f: 0, 0xd50324df: 0} {
		code := code32(pad, next)
		list, err := ISA.Run(code, 0x1000, ISA.JumpLen())
		if err != nil || len(list) != 2 || list[1].Faults {
			t.Fatalf("%08x: %+v, %v", pad, list, err)
		}
		if jump, err := ISA.Jump(code, 0x1000, 0x9000); err != nil || string(jump) != string(code32(pad, 0x14001fff)) || len(jump) > ISA.MaxJump() {
			t.Errorf("%08x: % x, %v", pad, jump, err)
		}
		b := arch.Buffer{Addr: 0x9000}
		var at []int
		slot, err := ISA.RelocateRun(&b, code, 0x1000, list, func(int) error {
			at = append(at, len(b.Code))
			b.Uint32(nop)
			return nil
		})
		want := code32(undo, nop, pad, nop, next)
		if undo == 0 {
			want = want[instLen:]
		}
		if err != nil || !strings.HasPrefix(string(b.Code), string(want)) || slot.Len != len(b.Code) || len(at) != 2 || at[0] != len(want)-16 || at[1] != len(want)-8 {
			t.Errorf("%08x: % x, %+v at %v, %v", pad, b.Code, slot, at, err)
		}
		for i, f := range slot.Fixes {
			if want := []arch.Addr{0x1000, 0x1004, 0x1008}[i]; f.PC != want {
				t.Errorf("%08x: %+v", pad, f)
			}
		}
		if _, err := ISA.Run(code32(pad, 0xd503245f), 0, 4); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%08x: two pads: %v", pad, err)
		}
		if _, err := ISA.Run(code[:4], 0, 4); err == nil {
			t.Errorf("%08x: a pad, and nothing", pad)
		}
	}
}

// TestFaults checks which instructions behind landing pads may fault.
func TestFaults(t *testing.T) {
	for w, want := range map[uint32]bool{
		0xa9bf7bfd: false, // stp x29, x30, [sp, #-16]!
		0xf81f0ffe: false, // str x30, [sp, #-16]!
		0xd10083ff: false, // sub sp, sp, #32
		0xd503201f: false, // nop
		0x94000001: false, // bl
		0x1e604000: false, // fmov d0, d0
		0xf9400020: true,  // ldr x0, [x1]
		0xf8616be0: true,  // ldr x0, [sp, x1]
		0xd5033f9f: true,  // dsb sy
		0x00000000: true,  // udf
		0x04a0e3e0: true,  // cntw x0: SVE
	} {
		if got := faults(w); got != want {
			t.Errorf("%08x: %v", w, got)
		}
	}
}

// TestJump tries jumps up to their full range.
func TestJump(t *testing.T) {
	const from = 0x10000000
	for to, ok := range map[arch.Addr]bool{from: true, from + 128<<20 - 4: true, from + 128<<20: false, from - 128<<20: true, from - 128<<20 - 4: false, from + 2: false} {
		b, err := ISA.Jump(nil, from, to)
		if ok != (err == nil) {
			t.Fatalf("to %v: %v", to, err)
		}
		if in, err := ISA.Decode(b, from); ok && (err != nil || in.Target != to || in.Kind != arch.KindJump) {
			t.Errorf("to %v: %+v, %v", to, in, err)
		}
	}
}
