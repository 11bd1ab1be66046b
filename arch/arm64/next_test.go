package arm64

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

var errRead = errors.New("no memory")

func noMemory(arch.Addr, []byte) error { return errRead }

// flagsOf returns the flags after cmp a, b.
func flagsOf(a, b uint64) uint64 {
	var flags uint64
	d := a - b
	if int64(d) < 0 {
		flags |= flagN
	}
	if d == 0 {
		flags |= flagZ
	}
	if a >= b {
		flags |= flagC
	}
	if int64((a^b)&(a^d)) < 0 {
		flags |= flagV
	}
	return flags
}

// TestNextConditions compares numbers for which Go's comparison is known.
func TestNextConditions(t *testing.T) {
	numbers := []uint64{0, 1, 2, 1 << 31, 1<<63 - 1, 1 << 63, 1<<63 + 1, 1<<64 - 1}
	for _, a := range numbers {
		for _, b := range numbers {
			s, u, d := int64(a), int64(b), int64(a-b)
			over := (s < u) != (d < 0)
			want := [16]bool{
				a == b, a != b, a >= b, a < b, d < 0, d >= 0, over, !over,
				a > b, a <= b, s >= u, s < u, s > u, s <= u, true, true,
			}
			for cond, taken := range want {
				r := arch.Regs{regPState: flagsOf(a, b)}
				checkNext(t, 0x54000400|uint32(cond), &r, taken) // b.cond .+128
				checkNext(t, 0x54000410|uint32(cond), &r, taken) // bc.cond .+128
			}
			r := arch.Regs{1: a, 2: b}
			for _, c := range []struct {
				word  uint32
				taken bool
			}{
				{0xf4020401, s > u}, {0xf4220401, s >= u}, {0xf4420401, a > b}, // cbgt, cbge, cbhi x1, x2
				{0xf4620401, a >= b}, {0xf4c20401, a == b}, {0xf4e20401, a != b}, // cbhs, cbeq, cbne
				{0x74020401, int32(a) > int32(b)}, {0x74620401, uint32(a) >= uint32(b)}, // w1, w2
				{0x74028401, int8(a) > int8(b)}, {0x7442c401, uint16(a) > uint16(b)}, // cbbgt, cbhhi
				{0xf5000401 | 1<<15, s > 1}, {0xf5200401 | 1<<15, s < 1}, // cbgt, cblt x1, #1
				{0xf5400401 | 1<<15, a > 1}, {0xf5600401 | 1<<15, a < 1}, // cbhi, cblo x1, #1
				{0x75c00401 | 1<<15, uint32(a) == 1}, {0x75e00401, uint32(a) != 0}, // cbeq, cbne w1, #1, #0
			} {
				checkNext(t, c.word, &r, c.taken)
			}
		}
	}
}

// checkNext requires a branch by 128 bytes to be taken, or not.
func checkNext(t *testing.T, w uint32, r *arch.Regs, taken bool) {
	t.Helper()
	const at = 0x7000
	want := arch.Addr(at + 4)
	if taken {
		want = at + 128
	}
	if got, err := ISA.Next(bytesOf(w), at, r, noMemory); err != nil || got != want {
		t.Errorf("%08x with %#x, %#x, %x: %v, %v; want %v", w, r[1], r[2], r[regPState]>>28, got, err, want)
	}
}

func TestNextRegisters(t *testing.T) {
	const high = 1 << 40
	r := arch.Regs{2: high, 3: 0xaabb_7fff_1234_5678, 5: 0x4444, 30: 0x3030, 31: 0x5000}
	checkNext(t, 0x34000400, &r, true)  // cbz w0
	checkNext(t, 0x34000402, &r, true)  // cbz w2: the low half
	checkNext(t, 0xb4000402, &r, false) // cbz x2
	checkNext(t, 0xb5000402, &r, true)  // cbnz x2
	checkNext(t, 0xb400041f, &r, true)  // cbz xzr, not sp
	checkNext(t, 0xb7400402, &r, true)  // tbnz x2, #40
	checkNext(t, 0xb6400402, &r, false) // tbz x2, #40
	checkNext(t, 0x36400402, &r, true)  // tbz w2, #8
	checkNext(t, 0xb640041f, &r, true)  // tbz xzr, #40
	checkNext(t, 0x8b020020, &r, false) // add
	checkNext(t, 0xd4000001, &r, false) // svc
	for _, tt := range []struct {
		word uint32
		want arch.Addr
	}{
		{0xd61f00a0, 0x4444},             // br x5
		{0xd63f00a0, 0x4444},             // blr x5
		{0xd61f0060, 0xaabb7fff12345678}, // br x3: as it is
		{0xd61f087f, 0x7fff12345678},     // braaz x3
		{0xd71f0862, 0x7fff12345678},     // braa x3, x2
		{0xd73f0c7f, 0x7fff12345678},     // blrab x3, sp
		{0xd65f03c0, 0x3030},             // ret
		{0xd65f00a0, 0x4444},             // ret x5
		{0xd65f0bff, 0x3030},             // retaa
		{0xd65f03e0, 0},                  // ret xzr
		{0x14000010, 0x7040},             // b
		{0x97ffffff, 0x6ffc},             // bl
	} {
		if got, err := ISA.Next(bytesOf(tt.word), 0x7000, &r, noMemory); err != nil || got != tt.want {
			t.Errorf("%08x: %v, %v; want %v", tt.word, got, err, tt.want)
		}
	}
}

func TestNextSigreturn(t *testing.T) {
	r := arch.Regs{regX8: nrSigreturn, regSP: 0x8000}
	rd := func(at arch.Addr, buf []byte) error {
		binary.LittleEndian.PutUint64(buf, uint64(at)<<16)
		return nil
	}
	if got, err := ISA.Next(bytesOf(svc), 0, &r, rd); err != nil || got != (0x8000+framePC)<<16 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ISA.Next(bytesOf(svc), 0, &r, noMemory); !errors.Is(err, errRead) {
		t.Errorf("without memory: %v", err)
	}
}

func TestNextErrors(t *testing.T) {
	for _, w := range []uint32{trap, 0, 0xd4400000} {
		if _, err := ISA.Next(bytesOf(w), 0, &arch.Regs{}, noMemory); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%08x: %v", w, err)
		}
	}
	if _, err := ISA.Next(nil, 0, &arch.Regs{}, noMemory); !errors.Is(err, errShort) {
		t.Errorf("nothing: %v", err)
	}
}

// TestNextAgrees requires Next to know each direct target that Decode knows.
func TestNextAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		w, at := interesting(r), arch.Addr(r.Uint64()&^3)
		var regs arch.Regs
		for i := range regs {
			regs[i] = r.Uint64()
		}
		in, _ := ISA.Decode(bytesOf(w), at)
		next, err := ISA.Next(bytesOf(w), at, &regs, noMemory)
		ok := true
		switch in.Kind {
		case arch.KindOther, arch.KindNop:
			ok = err == nil && next == at+4
		case arch.KindJump, arch.KindCall:
			ok = err == nil && next == in.Target
		case arch.KindBranch:
			ok = err == nil && (next == in.Target || next == at+4)
		case arch.KindTrap, arch.KindInvalid:
			ok = err != nil
		}
		if !ok {
			t.Fatalf("%08x: %+v, next of %v is %v, %v", w, in, at, next, err)
		}
	}
}
