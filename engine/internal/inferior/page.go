package inferior

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// The page is memory of ptracer's in a process, which its kernel may read and write: what
// system calls of the engine's ask and answer, and what the next tracer is to know. The base
// area's header says where it is (PageAt). It outlives the tracer: what a part means stays
// what it is.

// PageSize is its size, bytes.
const PageSize = 4096

// Part is a part of the page, or of a header.
type Part struct {
	At  arch.Addr // from its start
	Len int       // bytes
}

// Parts of the page.
var (
	PageAnswer   = Part{0, 64}                // what a system call writes
	PageArgument = Part{64, 64}               // what it reads
	PagePath     = Part{512, 256}             // a path, for the moment of an open
	PageEpoch    = Part{1008, 8}              // how often the space was written to (Space.Epoch)
	PageOwner    = Part{1016, 8}              // a mark: on whose behalf what is there stays
	PageRegions  = Part{1024, 8 + 16*Regions} // how many regions, then address and size of each
	PageMagic    = Part{PageSize - 8, 8}      // that it is such a page
)

// Marks of PageOwner: why what is in a space stays there.
const (
	MarkResident = 0x746e656469736572 // "resident": its probes outlive their tracer
	MarkAside    = 0x6564697361206f67 // "go aside": a session's, which is to come back
)

// Mark is the mark of a space, 0 for none.
func (s *Space) Mark() uint64 {
	if mark, ok := s.Word(PageOwner); ok && (mark == MarkResident || mark == MarkAside) {
		return mark
	}
	return 0
}

// Regions is how many regions the page has room for.
const Regions = 128

// Words of the guard's header (arch.GuardFirst and those behind it) that only tracers use.
var (
	HeaderRestorer = Part{40, 8} // the program's own sa_restorer
	HeaderPage     = Part{48, 8} // where the page is
)

// InPage is where a part of the space's page lies.
func (s *Space) InPage(p Part) arch.Addr { return s.Guard.Data + p.At }

// PutWord writes a part of the page that is one word.
func (s *Space) PutWord(p Part, v uint64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return s.Memory.Write(s.InPage(p), b[:])
}

// Word reads a part of the page that is one word. It is not ok where there is no page, or none
// that can be read.
func (s *Space) Word(p Part) (v uint64, ok bool) {
	var b [8]byte
	if s.Guard.Data == 0 || s.Memory.Read(s.InPage(p), b[:]) != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}
