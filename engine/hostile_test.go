package engine

import (
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/clean"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
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
	if areas := clean.OldAreas(own(t), list); len(areas) != 0 {
		t.Errorf("%d areas where nothing is", len(areas))
	}
}
