package engine

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
)

// own is this process, as one that is traced.
func own(t *testing.T) *inferior.Process {
	mem, err := ptrace.OpenMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mem.Close() })
	return &inferior.Process{PID: os.Getpid(), Space: &inferior.Space{Memory: mem}}
}

// TestEndlessCode: a program may have terabytes of code without a file, in which nothing is.
func TestEndlessCode(t *testing.T) {
	const size = 1 << 40
	mem, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_EXEC, syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		skip.Missing(t, "room for a mapping of a terabyte")
	}
	defer syscall.Munmap(mem)
	at := arch.Addr(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
	list := []procfs.Mapping{{Start: at, End: at + size, Perm: "r-xp"}}
	if areas := oldAreas(own(t), list); len(areas) != 0 {
		t.Errorf("%d areas where nothing is", len(areas))
	}
}

// TestOddData: a Go program's data may be shorter than a word, and lie anywhere.
func TestOddData(t *testing.T) {
	for vaddr := range uint64(16) {
		for size := range uint64(9) {
			b := make([]byte, 64+56)
			copy(b, elf.ELFMAG)
			b[elf.EI_CLASS], b[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
			le := binary.LittleEndian
			le.PutUint64(b[32:], 64)
			le.PutUint16(b[54:], 56)
			le.PutUint16(b[56:], 1)
			le.PutUint32(b[64:], uint32(elf.PT_LOAD))
			le.PutUint32(b[68:], uint32(elf.PF_W))
			le.PutUint64(b[80:], vaddr)
			le.PutUint64(b[104:], size)
			f, err := symbols.NewFile(bytes.NewReader(b), int64(len(b)), "odd")
			if err != nil {
				t.Fatal(err)
			}
			_ = eachGoSlice(own(t).Space, &symbols.Module{File: f}, func(arch.Addr, uint64) error { return nil })
		}
	}
}
