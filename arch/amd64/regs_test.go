package amd64

import (
	"debug/elf"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

func TestRegs(t *testing.T) {
	if ISA.Name() != "amd64" || ISA.Machine() != elf.EM_X86_64 || len(ISA.RegNames()) != ISA.NumRegs() || ISA.NumRegs() != 27 {
		t.Error("not the amd64 instruction set")
	}
	// Offsets of struct user_regs_struct in words.
	for name, word := range map[string]int{"r15": 0, "rbp": 4, "rax": 10, "rdi": 14, "orig_rax": 15, "rip": 16, "eflags": 18, "rsp": 19, "fs_base": 21, "gs": 26} {
		if ISA.RegNames()[word] != name {
			t.Errorf("word %d is %s, not %s", word, ISA.RegNames()[word], name)
		}
	}
	if ISA.PCReg() != 16 || ISA.SPReg() != 19 {
		t.Error("PC or SP is another word")
	}
	var r arch.Regs
	for i := range r {
		r[i] = uint64(i)
	}
	for c, words := range map[arch.Convention][]uint64{
		arch.C: {14, 13, 12, 11, 9, 8}, arch.GoRegisters: {10, 5, 11, 14, 13, 9, 8, 7, 6}, arch.GoStack: nil, arch.NotKnown: nil,
	} {
		for i, word := range words {
			if v, ok := ISA.Arg(c, &r, i); !ok || v != word {
				t.Errorf("%v: argument %d is word %d, not %d", c, i, v, word)
			}
		}
		for _, i := range []int{-1, len(words)} {
			if _, ok := ISA.Arg(c, &r, i); ok {
				t.Errorf("%v: there is an argument %d", c, i)
			}
		}
	}
	if ISA.Result(&r) != 10 {
		t.Error("result is not in rax")
	}
}

func TestTraps(t *testing.T) {
	for code, want := range map[string]bool{"\xcc": true, "\xf1": true, "\xcd\x03": true, "\xcd\x80": false, "\xcd": false, "\x90": false, "": false} {
		if got := ISA.IsTrap([]byte(code)); got != want {
			t.Errorf("% x: %v", code, got)
		}
	}
	if !ISA.IsTrap(ISA.Trap()) || ISA.TrapPC(0x1001) != 0x1000 {
		t.Error("our trap is none, or leaves elsewhere")
	}
	if _, inside := ISA.Exclusive([]byte("\xf0\x0f\xb1\x0e"), 0, 0); inside {
		t.Error("a locked instruction taken for a sequence")
	}
}
