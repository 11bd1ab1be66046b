package arm64

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

func code32(w ...uint32) (b []byte) {
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// TestRun is what a jump can be put in the place of.
func TestRun(t *testing.T) {
	for w, ok := range map[uint32]bool{
		0xa9bf7bfd: true,  // stp x29, x30, [sp, #-16]!
		0xf9400b90: true,  // ldr x16, [x28, #16]: how Go functions begin
		0x94000001: true,  // bl
		0x58000040: true,  // ldr x0, +8
		0xd65f03c0: true,  // ret
		0xd503201f: true,  // nop
		0xd503233f: false, // paciasp
		0xd503237f: false, // pacibsp
		0xd503245f: false, // bti c
		0xd503241f: false, // bti
		0xd4200000: false, // brk
		0xd4000001: false, // svc
	} {
		list, err := ISA.Run(code32(w), 0x1000, ISA.JumpLen())
		if ok != (err == nil) || err != nil && !errors.Is(err, arch.ErrUnsupported) {
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
	if _, err := ISA.Run(code32(0xd503201f, 0xd503201f), 0, 8); !errors.Is(err, arch.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := ISA.Run([]byte{1}, 0, 4); err == nil {
		t.Error("a run of one byte")
	}
}

// TestJump goes as far as a jump can.
func TestJump(t *testing.T) {
	const from = 0x10000000
	for to, ok := range map[arch.Addr]bool{from: true, from + 128<<20 - 4: true, from + 128<<20: false, from - 128<<20: true, from - 128<<20 - 4: false, from + 2: false} {
		b, err := ISA.Jump(from, to)
		if ok != (err == nil) {
			t.Fatalf("to %v: %v", to, err)
		}
		if in, err := ISA.Decode(b, from); ok && (err != nil || in.Target != to || in.Kind != arch.KindJump) {
			t.Errorf("to %v: %+v, %v", to, in, err)
		}
	}
}
