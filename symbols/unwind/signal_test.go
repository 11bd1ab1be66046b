package unwind

import (
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
)

// TestSignalFrames finds the places that signals have interrupted among the words of a stack.
func TestSignalFrames(t *testing.T) {
	for _, c := range []struct {
		isa           arch.ISA
		state, second uint64
	}{{amd64.ISA, 0x246, 0x2b_0000_0000_0033}, {arm64.ISA, 0x6000_0000, 0}} {
		const at, pc, sp = 5, 0x401234, 0xc000_0000
		words := make([]uint64, 200)
		for i := range words {
			words[i] = 0x100 + uint64(i)
		}
		uc := words[at:]
		uc[ucFlags], uc[ucLink], uc[ucStack], uc[ucStack+2] = 7, 0, sp, 0x8000
		i := c.isa.UContextPC()
		uc[i], uc[i+1], uc[i+2] = pc, c.state, c.second
		if got := Signalled(c.isa, words); !slices.Equal(got, []uint64{pc}) {
			t.Errorf("%s: signals have interrupted %#x", c.isa.Name(), got)
		}
		if got := Interrupted(c.isa, words, sp+0x100); !slices.Contains(got, pc) {
			t.Errorf("%s: signals have interrupted %#x of a stack", c.isa.Name(), got)
		}
		if got := Interrupted(c.isa, words, sp+0x8000); slices.Contains(got, pc) {
			t.Errorf("%s: signals have interrupted %#x of another stack", c.isa.Name(), got)
		}
		uc[i+1] |= 0x1f << 32 // no flags
		if got := Signalled(c.isa, words); len(got) != 0 {
			t.Errorf("%s: %#x without a task's state", c.isa.Name(), got)
		}
		for n := range words { // however few there are
			Signalled(c.isa, words[:n])
			Interrupted(c.isa, words[:n], sp)
		}
	}
}
