package amd64

import (
	"errors"
	"regexp"
	"testing"

	"golang.org/x/arch/x86/x86asm"

	"github.com/ptracer/ptracer/arch"
)

// seeds are instructions of every encoding.
var seeds = []string{
	"\x90", "\xc3", "\xe8\x01\x02\x03\x04", "\x0f\x05", "\xf3\x0f\x1e\xfa", "\xff\x54\x24\x08", "\x8b\x05\x01\x02\x03\x04",
	"\xc5\xf8\x77", "\xc4\xe2\x7d\x18\x05\x01\x02\x03\x04", "\x62\xf1\x7c\x48\x28\x05\x01\x02\x03\x04",
	"\x8f\xe9\x78\x81\xc0", "\x66\x0f\x3a\x0f\xc1\x08", "\x67\xe3\x10", "\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08", "\xc7\xf8\x00\x01\x00\x00",
}

// FuzzDecode holds the decoder against another where that one decodes too.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		in, err := ISA.Decode(code, 0x1000)
		if err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrTruncated) && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if err == nil && (in.Len < 1 || in.Len > maxInst || in.Len > len(code)) {
			t.Fatalf("% x: length %d", code, in.Len)
		}
		other, otherErr := x86asm.Decode(code, 64)
		if otherErr != nil || other.Op == 0 || strange(code) {
			return
		}
		if obsolete.MatchString(other.String()) {
			return
		}
		if err != nil {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("% x is %v: %v", code[:other.Len], other, err)
			}
			return
		}
		if in.Len != other.Len {
			t.Errorf("% x is %v: length %d, not %d", code, other, in.Len, other.Len)
		}
	})
}

// obsolete matches moves to and from registers that no 64-bit CPU has, or that have a ModRM which
// never means memory.
var obsolete = regexp.MustCompile(`MOV (CS,|[TCD]R|.*, [TCD]R)`)

// strange reports what x86asm does not know as the CPU does: vector prefixes,
// a prefix behind REX, lock of nothing.
func strange(code []byte) bool {
	c := cursor{code: code}
	c.prefixes()
	if c.lock {
		return true
	}
	switch c.peek() {
	case 0xc4, 0xc5, 0x62, 0x8f:
		return true
	}
	for _, b := range code[:max(0, c.pos-1)] {
		if b&0xf0 == 0x40 {
			return true
		}
	}
	return false
}

// FuzzRelocate checks what holds for every slot.
func FuzzRelocate(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint64(0x401000), uint64(0x500000))
		f.Add([]byte(s), uint64(0x401000), uint64(0x7f0000500000))
	}
	f.Fuzz(func(t *testing.T, code []byte, from, at uint64) {
		b := arch.Buffer{Addr: arch.Addr(at), Code: []byte{1, 2, 3}}
		slot, err := ISA.Relocate(&b, code, arch.Addr(from))
		if err != nil {
			if len(b.Code) != 3 {
				t.Fatal("a failure left code behind")
			}
			return
		}
		if slot.Len != len(b.Code)-3 || slot.Len > 64 {
			t.Fatalf("slot of %d bytes, %d written", slot.Len, len(b.Code)-3)
		}
		if f := slot.Fixes[0]; f.Off != 0 || !f.Before || f.PC != arch.Addr(from) {
			t.Fatalf("first fix %+v", f)
		}
		checkFixes(t, b.Code[3:], slot)
	})
}

// checkFixes wants a fix at each boundary: from one to the next there is one
// instruction, and the last one does not come back.
func checkFixes(t *testing.T, code []byte, slot arch.Slot) {
	t.Helper()
	for i, f := range slot.Fixes {
		in, err := ISA.Decode(code[f.Off:], 0)
		switch {
		case err != nil:
			t.Fatalf("% x: fix %d: %v", code, i, err)
		case i+1 < len(slot.Fixes) && slot.Fixes[i+1].Off != f.Off+in.Len:
			t.Fatalf("% x: fix %d at %d, instruction of %d bytes, next fix at %d", code, i, f.Off, in.Len, slot.Fixes[i+1].Off)
		case i+1 == len(slot.Fixes) && in.Kind != arch.KindJump && in.Kind != arch.KindJumpIndirect && in.Kind != arch.KindReturn:
			t.Fatalf("% x: the last instruction goes on", code)
		}
	}
}

// FuzzNext only wants an answer or an error.
func FuzzNext(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint64(0x1000))
	}
	f.Fuzz(func(t *testing.T, code []byte, at uint64) {
		none := errors.New("no memory")
		_, err := ISA.Next(code, arch.Addr(at), &arch.Regs{}, func(arch.Addr, []byte) error { return none })
		if _, decodeErr := ISA.Decode(code, arch.Addr(at)); err == nil && decodeErr != nil {
			t.Fatalf("% x: next of what does not decode: %v", code, decodeErr)
		}
	})
}
