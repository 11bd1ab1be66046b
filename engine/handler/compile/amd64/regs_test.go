package amd64

import (
	"testing"

	isa "github.com/ptracer/ptracer/arch/amd64"
)

// TestWords compares the words with package arch's.
func TestWords(t *testing.T) {
	numbered := []string{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}
	for r, w := range word {
		if name := isa.ISA.RegNames()[w]; name != numbered[r] {
			t.Errorf("register %d is %s, word %d is %s", r, numbered[r], w, name)
		}
	}
}
