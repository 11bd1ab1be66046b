package arm64

import (
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// entries are typical first instructions of functions.
var entries = [][]byte{
	bytesOf(0xd503245f, 0xa9bf7bfd), // bti c, stp
	bytesOf(0xa9bf7bfd),             // stp x29, x30, [sp, #-16]!
	bytesOf(0xf9400b90),             // ldr x16, [x28, #16]: Go
	bytesOf(0xd10083ff),             // sub sp, sp, #32
	bytesOf(0x90000100),             // adrp x0
	bytesOf(0x34000100),             // cbz w0
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
