package gofile

import (
	"debug/elf"
	"math"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

func TestConventionVersions(t *testing.T) {
	const text = 0x401000
	for _, machine := range []elf.Machine{elf.EM_X86_64, elf.EM_AARCH64} {
		for magic, want := range map[uint32]arch.Convention{
			magicGo12: arch.GoStack, magicGo116: arch.GoStack, magicGo118: arch.GoRegisters, magicGo120: arch.GoRegisters,
		} {
			if machine == elf.EM_X86_64 && magic == magicGo116 {
				want = arch.NotKnown // nothing says which Go it is
			}
			g, ok := parse(coded(t, machine, text), 0x500000, goTableOf(magic, text))
			if !ok {
				t.Fatalf("%#x: not understood", magic)
			}
			if got := g.convention(); got != want {
				t.Errorf("%v, %#x: %v, want %v", machine, magic, got, want)
			}
			for _, off := range []uint64{0, 1 << 20, math.MaxUint64, math.MaxUint64 - 36} {
				g.assembly(off)
			}
		}
	}
	for version, want := range map[string]arch.Convention{
		"go1.16": arch.GoStack, "go1.16.15": arch.GoStack, "go1.17": arch.GoRegisters, "go1.17.13": arch.GoRegisters,
		"devel go1.17-abc": arch.GoRegisters, "go1.17 X:noregabi": arch.GoStack, "": arch.NotKnown, "devel +abc": arch.NotKnown,
		"go1.99999999999999999999": arch.GoRegisters,
	} {
		if got := conventionOf117(version); got != want {
			t.Errorf("%q: %v, want %v", version, got, want)
		}
	}
}

// TestAssembly: the flag lies where each Go has it, and nowhere else.
func TestAssembly(t *testing.T) {
	for magic, at := range map[uint32]int{magicGo118: 37, magicGo120: 41} {
		for i := range 60 {
			data := make([]byte, 60)
			data[i] = funcFlagAsm
			g := &Table{magic: magic, width: 4, data: data}
			if got, want := g.assembly(0), i == at; got != want {
				t.Errorf("%#x: the flag at %d: %v", magic, i, got)
			}
		}
	}
}
