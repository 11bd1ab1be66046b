package arch_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
)

// TestDwarfReg names DWARF's registers as the ABIs do.
func TestDwarfReg(t *testing.T) {
	var arm []string
	for i := range 31 {
		arm = append(arm, fmt.Sprint("x", i))
	}
	for _, c := range []struct {
		isa   arch.ISA
		names []string
	}{
		{amd64.ISA, strings.Fields("rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip")},
		{arm64.ISA, append(arm, "sp")},
	} {
		words := c.isa.RegNames()
		for n, want := range c.names {
			if word, ok := c.isa.DwarfReg(n); !ok || words[word] != want {
				t.Errorf("%s: register %d is %s, %v; want %s", c.isa.Name(), n, words[word], ok, want)
			}
		}
		for _, n := range []int{-1, len(c.names), 255} {
			if word, ok := c.isa.DwarfReg(n); ok {
				t.Errorf("%s: register %d is %s", c.isa.Name(), n, words[word])
			}
		}
	}
}

// TestReturnAddr removes signatures from return addresses.
func TestReturnAddr(t *testing.T) {
	for _, c := range []struct {
		isa     arch.ISA
		v, want uint64
	}{
		{amd64.ISA, 0x7fff_1234_5678, 0x7fff_1234_5678}, {amd64.ISA, 0xffff_8000_1234_5678, 0xffff_8000_1234_5678},
		{arm64.ISA, 0xffff_1234_5678, 0xffff_1234_5678}, {arm64.ISA, 0x00c3_aaaa_1234_5678, 0xaaaa_1234_5678},
	} {
		if got := c.isa.ReturnAddr(c.v); got != c.want {
			t.Errorf("%s: %#x is %#x, want %#x", c.isa.Name(), c.v, got, c.want)
		}
	}
}
