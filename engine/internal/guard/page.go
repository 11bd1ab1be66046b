package guard

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// A guard's page is known by its last word: its address alone may be that of something
// else by now.
const pageMagic = 0x6567617020737465 // "ets page"

// IsPage reports whether a guard's page is at a place.
func IsPage(mem *ptrace.Memory, at arch.Addr) bool { return hasMark(mem, at, pageMagic) }

// AsideMagic is the word, at the same place, of a page that has a copy of syscall()'s code. It comes
// into it with the code.
const AsideMagic = 0x6564697361207374 // "ts aside"

// IsAsidePage reports whether such a page is at a place.
func IsAsidePage(mem *ptrace.Memory, at arch.Addr) bool { return hasMark(mem, at, AsideMagic) }

func hasMark(mem *ptrace.Memory, page arch.Addr, magic uint64) bool {
	var b [8]byte
	return page != 0 && mem.Read(page+inferior.PageMagic.At, b[:]) == nil && binary.LittleEndian.Uint64(b[:]) == magic
}
