package arm64

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"

	"github.com/ptracer/ptracer/arch"
)

const (
	testFrom = arch.Addr(0x40000000)
	testSlot = arch.Addr(0x41000000)
)

// TestRelocate checks the words of each slot.
func TestRelocate(t *testing.T) {
	const from, cell = testFrom, testSlot
	back := func(off int, to arch.Addr) uint32 { return encBranch(int64(to - cell - arch.Addr(off))) }
	const next = from + 4
	for _, tt := range []struct {
		text string
		word uint32
		want []uint32
	}{
		{"add x0, x1, x2", 0x8b020020, []uint32{0x8b020020, back(4, next)}},
		{"bti c", 0xd503245f, []uint32{0xd503245f, back(4, next)}},
		{"ldxr w0, [x1]", ldxr, []uint32{ldxr, back(4, next)}},
		{"svc #0", svc, []uint32{svc, back(4, next)}},
		{"b .+8", 0x14000002, []uint32{back(0, from+8)}},
		{"b .", 0x14000000, []uint32{back(0, from)}},
		{"bl .+8", 0x94000002, []uint32{0x5800005e, back(4, from+8), 0x40000004, 0}},
		{"b.ne .+8", 0x54000041, []uint32{0x54000041, back(4, next), back(8, from+8)}},
		{"cbz x1, .-4", 0xb4ffffe1, []uint32{0xb4000041, back(4, next), back(8, from-4)}},
		{"tbnz x1, #33, .-4", 0xb70fffe1, []uint32{0xb7080041, back(4, next), back(8, from-4)}},
		{"br x3", 0xd61f0060, []uint32{0xd61f0060}},
		{"braa x3, x4", 0xd71f0864, []uint32{0xd71f0864}},
		{"ret", 0xd65f03c0, []uint32{0xd65f03c0}},
		{"retaa", 0xd65f0bff, []uint32{0xd65f0bff}},
		{"udf #0", 0, []uint32{0}},
		{"blr x3", 0xd63f0060, []uint32{0x5800005e, 0xd61f0060, 0x40000004, 0}},
		{"blraaz x3", 0xd63f087f, []uint32{0x5800005e, 0xd61f087f, 0x40000004, 0}},
		{"blrab x3, x4", 0xd73f0c64, []uint32{0x5800005e, 0xd71f0c64, 0x40000004, 0}},
		{"adr x5, .-1", 0x70ffffe5, []uint32{0x58000045, back(4, next), 0x3fffffff, 0}},
		{"adrp x5, .+0x1000", 0xb0000005, []uint32{0x58000045, back(4, next), 0x40001000, 0}},
		{"ldr x5, .+8", 0x58000045, []uint32{0x58000085, 0xf94000a5, back(8, next), 0, 0x40000008, 0}},
		{"ldr w5, .-8", 0x18ffffc5, []uint32{0x58000085, 0xb94000a5, back(8, next), 0, 0x3ffffff8, 0}},
		{"ldrsw x5, .+8", 0x98000045, []uint32{0x58000085, 0xb98000a5, back(8, next), 0, 0x40000008, 0}},
		{"prfm pldl1keep, .+8", 0xd8000040, []uint32{nop, back(4, next)}},
		{"ldr q5, .+8", 0x9c000045, []uint32{
			0xf81f0ff0, 0x580000b0, 0x3dc00205, 0xf84107f0, back(16, next), 0, 0x40000008, 0}},
		{"ldr xzr, .+8", 0x5800005f, []uint32{
			0xf81f0ff0, 0x580000b0, 0xf940021f, 0xf84107f0, back(16, next), 0, 0x40000008, 0}},
	} {
		b := &arch.Buffer{Addr: cell - 16, Code: make([]byte, 16)}
		s, err := ISA.Relocate(b, bytesOf(tt.word), from)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := b.Code[16:]; !slices.Equal(got, bytesOf(tt.want...)) || s.Len != len(got) {
			t.Errorf("%s: %d bytes\n% x, want\n% x", tt.text, s.Len, got, bytesOf(tt.want...))
		}
	}
}

func TestRelocateErrors(t *testing.T) {
	for _, tt := range []struct {
		text string
		word uint32
		slot arch.Addr
		want error
	}{
		{"brk", 0xd4200020, testSlot, errTrap},
		{"blr x30", 0xd63f03c0, testSlot, errSelf},
		{"blraaz x30", 0xd63f0bdf, testSlot, errSelf},
		{"blraa x3, x30", 0xd73f087e, testSlot, errSelf},
		{"paciasppc", 0xdac1a3fe, testSlot, errSigned},
		{"pacnbibsppc", 0xdac187fe, testSlot, errSigned},
		{"autiasppc .-16", 0xf380009f, testSlot, errSigned},
		{"autibsppc .-20", 0xf3a000bf, testSlot, errSigned},
		{"retabsppc .-16", 0x5520009f, testSlot, errSigned},
		{"cpyfm [x0]!, [x1]!, x2!", 0x19410440, testSlot, errCopy},
		{"cpye [x0]!, [x1]!, x2!", 0x1d810440, testSlot, errCopy},
		{"setgm [x0]!, x1!, x2", 0x1dc24420, testSlot, errCopy},
		{"far back", add, testFrom + 128<<20 + 4, errReach},
		{"far on", add, testFrom - 128<<20, errReach},
		{"far target", 0x15ffffff, testSlot - 0x2000000, errReach},
		{"other half of the world", add, 1 << 63, errReach},
	} {
		b := &arch.Buffer{Addr: tt.slot - 4, Code: make([]byte, 4)}
		_, err := ISA.Relocate(b, bytesOf(tt.word), testFrom)
		if !errors.Is(err, tt.want) || !errors.Is(err, errors.ErrUnsupported) || len(b.Code) != 4 {
			t.Errorf("%s: %v, %d bytes", tt.text, err, len(b.Code))
		}
	}
	if _, err := ISA.Relocate(&arch.Buffer{Addr: 2}, bytesOf(add), 0); !errors.Is(err, errCell) {
		t.Errorf("odd slot: %v", err)
	}
	if _, err := ISA.Relocate(&arch.Buffer{}, []byte{1}, 0); !errors.Is(err, errShort) {
		t.Errorf("1 byte: %v", err)
	}
	for _, cell := range []arch.Addr{testFrom + 128<<20, testFrom - 128<<20 + 4} {
		if _, err := ISA.Relocate(&arch.Buffer{Addr: cell}, bytesOf(add), testFrom); err != nil {
			t.Errorf("just in reach at %v: %v", cell, err)
		}
	}
}

// state is the state that the instructions of a slot can change: loads to other than general
// registers, and copied instructions, are recorded as their effect.
type state struct {
	regs  arch.Regs
	stack uint64 // the 8 bytes at sp - 16
	did   string
}

// memory returns what the toy CPU finds at an address.
func memory(a uint64) uint64 { return a*0x9e3779b97f4a7c15 + 1 }

func (s *state) set(reg uint32, v uint64) {
	if reg != zr {
		s.regs[reg] = v
	}
}

// load executes a load of size opc into reg of kind v, from an address.
func (s *state) load(v, opc, reg uint32, addr uint64) {
	value := memory(addr)
	switch {
	case v == 1:
		s.did += fmt.Sprintf("v%d.%d=%#x ", reg, opc, addr)
	case opc == 0:
		s.set(reg, uint64(uint32(value)))
	case opc == 1:
		s.set(reg, value)
	case opc == 2:
		s.set(reg, uint64(int64(int32(value))))
	}
}

// original executes w at from, with its operands as x/arch decodes them.
func (s *state) original(w uint32, from arch.Addr) {
	f, old := classify(w), s.regs
	next, _ := ISA.Next(bytesOf(w), from, &old, noMemory)
	s.regs[regPC] = uint64(next)
	var at uint64
	if asm, err := arm64asm.Decode(bytesOf(w)); err == nil {
		at = uint64(asmTarget(asm, from))
		if f == formAdrp {
			at = uint64(asmTarget(asm, from&^4095))
		}
	}
	switch f {
	case formAdr, formAdrp:
		s.set(w&31, at)
	case formLoad, formLoadFP:
		s.load(w>>26&1, w>>30, w&31, at)
	case formBL, formBLR, formBLRAuth:
		s.regs[regX30] = uint64(from) + 4
	case formOther, formSvc:
		s.did += fmt.Sprintf("%08x ", w)
	}
}

// step executes an instruction of the slot of an instruction of form f.
func (s *state) step(b *arch.Buffer, f form) {
	pc := arch.Addr(s.regs[regPC])
	code := b.Code[pc-b.Addr:]
	w, _ := word(code, pc)
	old := s.regs
	next, _ := ISA.Next(code, pc, &old, noMemory)
	s.regs[regPC] = uint64(next)
	loads := f == formLoad || f == formLoadFP
	switch is := classify(w); {
	case is == formLoad:
		off := target19(w, pc) - b.Addr
		value, _ := readAddr(func(_ arch.Addr, p []byte) error { copy(p, b.Code[off:]); return nil }, 0)
		s.set(w&31, uint64(value))
	case loads && w == encPush(16):
		s.regs[regSP] -= 16
		s.stack = s.regs[16]
	case loads && w == encPop(16):
		s.regs[regSP] += 16
		s.regs[16] = s.stack
	case loads && is == formOther:
		s.loadFrom(w)
	case is == formOther, is == formSvc:
		s.did += fmt.Sprintf("%08x ", w)
	}
}

// loadFrom executes a load from a register.
func (s *state) loadFrom(w uint32) {
	for v, ops := range loads {
		for opc, op := range ops {
			if op == w&^1023 {
				s.load(uint32(v), uint32(opc), w&31, s.regs[w>>5&31])
			}
		}
	}
}

// fixed returns s as the program must see it at a boundary.
func (s state) fixed(f arch.Fix) state {
	pc := f.Where(&s.regs)
	if f.Reg >= 0 {
		s.regs[f.Reg] = s.stack
	}
	s.regs[regPC] = uint64(pc)
	s.regs[regSP] += uint64(f.SP)
	s.stack = 0
	return s
}

// checkSlot runs w at from and in a slot from the same state, and compares at the end and at each
// boundary.
func checkSlot(w uint32, from arch.Addr, regs arch.Regs) error {
	b := &arch.Buffer{Addr: from + 0x123450}
	slot, err := ISA.Relocate(b, bytesOf(w), from)
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) || len(b.Code) != 0 {
			return fmt.Errorf("%d bytes, %w", len(b.Code), err)
		}
		return nil
	}
	f := classify(w)
	if f == formInvalid {
		return nil
	}
	start := state{regs: regs}
	start.regs[regPC] = uint64(from)
	want := start
	want.original(w, from)
	if f == formBRAuth || f == formBLRAuth || f == formBLR || f == formBR {
		want.regs[regPC] &= userMask // see Next, and Fix.Where
	}

	got, last := start, -1
	got.regs[regPC] = uint64(b.Addr)
	for got.regs[regPC]-uint64(b.Addr) < uint64(slot.Len) {
		off := int(got.regs[regPC] - uint64(b.Addr))
		i := slices.IndexFunc(slot.Fixes, func(f arch.Fix) bool { return f.Off == off })
		if i < 0 || off <= last {
			return fmt.Errorf("no fix at %#x of %+v", off, slot.Fixes)
		}
		shown := got.fixed(slot.Fixes[i])
		if slot.Fixes[i].Before {
			if f == formLoad && w&31 != zr { // is about to be overwritten
				shown.regs[w&31] = start.regs[w&31]
			}
			if shown != start {
				return fmt.Errorf("at %#x shown as\n%+v, not\n%+v", off, shown, start)
			}
		} else if shown != want {
			return fmt.Errorf("at %#x shown as\n%+v, not\n%+v", off, shown, want)
		}
		last = off
		got.step(b, f)
	}
	got.stack = 0
	got.regs[regPC] &= userMask
	if got != want {
		return fmt.Errorf("ends as\n%+v, not\n%+v", got, want)
	}
	return nil
}

func randomState(r *rand.Rand) arch.Regs {
	var regs arch.Regs
	for i := range regs {
		regs[i] = r.Uint64() & userMask
	}
	regs[regPState] = r.Uint64() & (15 << 28)
	if r.IntN(2) == 0 {
		regs[r.IntN(31)] = 0
	}
	return regs
}

func TestRelocateSameState(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 60_000 {
		w := interesting(r)
		if err := checkSlot(w, testFrom, randomState(r)); err != nil {
			t.Fatalf("%08x: %v", w, err)
		}
	}
}

func FuzzRelocate(f *testing.F) {
	for _, group := range patterns {
		for _, p := range group {
			f.Add(p.bits, uint32(testFrom), uint64(1))
		}
	}
	f.Fuzz(func(t *testing.T, w, from uint32, seed uint64) {
		regs := randomState(rand.New(rand.NewPCG(seed, 0)))
		if err := checkSlot(w, arch.Addr(from&^3)+1<<30, regs); err != nil {
			t.Errorf("%08x: %v", w, err)
		}
		if _, err := compareAsm(w, arch.Addr(from&^3)); err != nil {
			t.Error(err)
		}
	})
}

// TestFixesAscend requires a fix for each instruction of a slot, and no others.
func TestFixesAscend(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 20_000 {
		b := &arch.Buffer{Addr: testSlot}
		w := interesting(r)
		slot, err := ISA.Relocate(b, bytesOf(w), testFrom)
		if err != nil {
			continue
		}
		for i, f := range slot.Fixes {
			if f.Off != 4*i || f.Off >= slot.Len {
				t.Fatalf("%08x: fix %d of %+v", w, i, slot.Fixes)
			}
		}
		if f := slot.Fixes[0]; !f.Before || f.PC != testFrom || f.SP != 0 || f.Reg >= 0 {
			t.Fatalf("%08x starts as %+v", w, f)
		}
	}
}
