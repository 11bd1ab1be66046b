package arm64

import (
	"encoding/binary"
	"math/bits"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"
)

// TestLogical writes every immediate that logical instructions can have, and
// some that they can't, and has a disassembler read them.
func TestLogical(t *testing.T) {
	want := map[uint64]bool{}
	for size := 2; size <= 64; size *= 2 {
		for ones := 1; ones < size; ones++ {
			for turn := range size {
				piece := uint64(1)<<uint(ones) - 1
				piece = (piece>>uint(turn) | piece<<uint(size-turn)) & (^uint64(0) >> (64 - uint(size)))
				for n := size; n < 64; n *= 2 {
					piece |= piece << uint(n)
				}
				want[piece] = true
			}
		}
	}
	if len(want) != 5334 {
		t.Fatalf("%d immediates", len(want))
	}
	for n := range want {
		c := &compiler{}
		if !c.logical(true, immAnd, 1, 2, n) {
			t.Errorf("%#x is not written", n)
			continue
		}
		if got := read(t, c.Code); got != n {
			t.Errorf("%#x is read as %#x", n, got)
		}
		if other := bits.RotateLeft64(n, 7) ^ 0x10000400; !want[other] && c.logical(true, immAnd, 1, 2, other) {
			t.Errorf("%#x is written", other)
		}
	}
	for _, n := range []uint64{0, ^uint64(0)} {
		if c := (&compiler{}); c.logical(true, immAnd, 1, 2, n) {
			t.Errorf("%#x is written", n)
		}
	}
}

// read is the immediate that is the last operand of code.
func read(t *testing.T, code []byte) uint64 {
	t.Helper()
	in, err := arm64asm.Decode(code)
	if err != nil {
		t.Fatalf("%08x: %v", binary.LittleEndian.Uint32(code), err)
	}
	for i := len(in.Args) - 1; i >= 0; i-- {
		switch v := in.Args[i].(type) {
		case arm64asm.Imm64:
			return v.Imm
		case arm64asm.Imm:
			return uint64(v.Imm)
		}
	}
	t.Fatalf("%v has no immediate", in)
	return 0
}
