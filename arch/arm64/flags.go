package arm64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// FlagsLive treats instructions that it does not know as ones that do not set the flags.
func (a isa) FlagsLive(code []byte) bool {
	for ; len(code) >= instLen; code = code[instLen:] {
		w := binary.LittleEndian.Uint32(code)
		in, err := a.Decode(code, 0)
		switch {
		case readsFlags(w):
			return true
		case err != nil, setsFlags(w), in.Kind != arch.KindOther && in.Kind != arch.KindNop:
			return false
		}
	}
	return false
}

// masked is a set of instructions with fixed bits in mask.
type masked struct{ mask, bits uint32 }

func anyOf(w uint32, list []masked) bool {
	for _, p := range list {
		if w&p.mask == p.bits {
			return true
		}
	}
	return false
}

func readsFlags(w uint32) bool {
	return anyOf(w, []masked{
		{0xffffffe0, 0xd53b4200}, // mrs nzcv
		{0xff000000, 0x54000000}, // b.cond, bc.cond
		{0x1fe0f800, 0x1a000000}, // adc, sbc
		{0x1fe00000, 0x1a400000}, // ccmp, ccmn
		{0x1fe00000, 0x1a800000}, // csel and the like
		{0xff200400, 0x1e200400}, // fccmp, fcsel
	})
}

func setsFlags(w uint32) bool {
	return anyOf(w, []masked{
		{0xffffffe0, 0xd51b4200}, // msr nzcv
		{0x3f000000, 0x31000000}, // adds, subs: immediate
		{0x3f000000, 0x2b000000}, // registers
		{0x7f800000, 0x72000000}, // ands: immediate
		{0x7f000000, 0x6a000000}, // registers; bics
		{0xff20fc07, 0x1e202000}, // fcmp
	})
}
