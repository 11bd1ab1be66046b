package amd64

import (
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// entries are typical starts of functions, one after the other.
var entries = [][]byte{
	{0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5},             // endbr64; push %rbp; mov %rsp, %rbp
	{0x55, 0x48, 0x89, 0xe5, 0x41, 0x57, 0x41, 0x56},             // push; mov; push %r15; push %r14
	{0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55, 0x48, 0x89, 0xe5}, // cmp 16(%r14), %rsp; jbe; push; mov: Go
	{0x48, 0x83, 0xec, 0x18, 0x48, 0x8b, 0x05, 0x10, 0, 0, 0},    // sub $24, %rsp; mov 16(%rip), %rax
	{0x48, 0x8d, 0x3d, 0x40, 0, 0, 0, 0xe8, 0x10, 0, 0, 0},       // lea 64(%rip), %rdi; call
	{0xc5, 0xfa, 0x10, 0x05, 0x10, 0, 0, 0},                      // vmovss 16(%rip), %xmm0
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := ISA.Decode(entries[i%len(entries)], 0x1000); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRelocate measures the relocation of one instruction.
func BenchmarkRelocate(b *testing.B) {
	b.ReportAllocs()
	var buf arch.Buffer
	for i := 0; b.Loop(); i++ {
		buf.Reset(0x10000)
		if _, err := ISA.Relocate(&buf, entries[i%len(entries)], 0x1000); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRun measures finding and moving the instructions that a jump displaces.
func BenchmarkRun(b *testing.B) {
	b.ReportAllocs()
	var buf arch.Buffer
	for i := 0; b.Loop(); i++ {
		code := entries[i%len(entries)]
		run, err := ISA.Run(code, 0x1000, ISA.JumpLen())
		if err != nil {
			b.Fatal(err)
		}
		buf.Reset(0x10000)
		if _, err := ISA.RelocateRun(&buf, code, 0x1000, run, nil); err != nil {
			b.Fatal(err)
		}
	}
}
