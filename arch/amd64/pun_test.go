package amd64

import (
	"encoding/binary"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// TestPuns compares the result of Puns with the decoded jumps.
func TestPuns(t *testing.T) {
	r := liveRand()
	for range 10000 {
		code := make([]byte, 8)
		binary.LittleEndian.PutUint64(code, r.Uint64())
		from, own := arch.Addr(r.Uint64N(1<<47-1<<32)+1<<32), 1+r.IntN(4)
		lo, hi, ok := ISA.Puns(code, from, own)
		if !ok {
			t.Fatalf("% x at %v, %d own: none", code, from, own)
		}
		for _, to := range []arch.Addr{lo, hi, lo + (hi-lo)/3} {
			patch, err := ISA.Jump(nil, from, to)
			if err != nil {
				t.Fatal(err)
			}
			copy(code, patch[:own])
			if in, err := ISA.Decode(code, from); err != nil || in.Kind != arch.KindJump || in.Target != to {
				t.Fatalf("% x at %v, %d own, to %v: %+v, %v", code, from, own, to, in, err)
			}
		}
	}
	for _, c := range []struct {
		code []byte
		from arch.Addr
		own  int
	}{
		{[]byte{0xc3, 0, 0, 0, 0x80}, 0x400000, 1},      // below 0
		{[]byte{0xc3, 0, 0, 0, 0x7f}, 1<<47 - 1<<20, 1}, // above what there is
		{[]byte{0xc3, 0, 0, 0}, 0x400000, 1},            // not known
		{[]byte{0xc3, 0, 0, 0, 0}, 0x400000, 5},         // a jump
	} {
		if lo, hi, ok := ISA.Puns(c.code, c.from, c.own); ok {
			t.Errorf("% x at %v, %d own: %v to %v", c.code, c.from, c.own, lo, hi)
		}
	}
}

// TestFarJump jumps to any address, and changes nothing else.
func TestFarJump(t *testing.T) {
	s := newSandbox(t)
	for _, to := range []arch.Addr{sandCode + 0x100, 0x10000, 0x7fff00000000} {
		s.write(sandCode, ISA.FarJump(to))
		want := s.regs()
		want[ISA.PCReg()] = uint64(sandCode)
		s.setRegs(&want)
		s.step()
		want[ISA.PCReg()] = uint64(to)
		if got := s.regs(); got != want {
			t.Errorf("to %v: %x, want %x", to, got, want)
		}
	}
}
