package breakpoint

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

// Memory is one address space, as it is: patches are seen.
type Memory interface {
	Read(addr arch.Addr, buf []byte) error
	Write(addr arch.Addr, data []byte) error
}

// Mapper makes room for slots in the tracee.
type Mapper interface {
	// Map maps size bytes read-execute, all of them within reach of near.
	Map(near arch.Addr, size int) (arch.Addr, error)
	// MapAt maps whole pages at an address, where there is nothing and nothing
	// of the program's grows; else ErrTaken.
	MapAt(at arch.Addr, size int) error
	// Batch has f make several calls of MapAt while one task stands still for all of
	// them. Where that task ends meanwhile it calls f again.
	Batch(f func() error) error
}

// Rung is the way a site is served; smaller is faster.
type Rung uint8

const (
	Auto     Rung = iota // asked for: the best that is safe
	Jump                 // a jump to a slot: no stop
	Pun                  // a jump, the last bytes of which are the next instructions
	Slot                 // trap, then the displaced instruction in a slot and a jump back
	Emulate              // trap, then the engine does what the instruction does
	Step                 // trap, then a single step out of line
	Hardware             // a debug register: no byte is changed
)

var rungNames = [...]string{"auto", "jump", "pun", "trap+slot", "trap+emulate", "trap+step", "hardware"}

func (r Rung) String() string {
	if int(r) < len(rungNames) {
		return rungNames[r]
	}
	return fmt.Sprintf("rung(%d)", uint8(r))
}

// ParseRung is String's inverse; "trap" means the best trap rung.
func ParseRung(s string) (Rung, error) {
	for i, n := range rungNames {
		if s == n || len(n) > 5 && n[:5] == "trap+" && s == n[5:] {
			return Rung(i), nil
		}
	}
	if s == "trap" {
		return Slot, nil
	}
	return 0, fmt.Errorf("unknown rung %q: one of auto, jump, trap, slot, emulate, step, hardware", s)
}

// Why an address can't be a site.
var (
	ErrForeign    = errors.New("patched by another tool") // memory differs from the file by a trap
	ErrChanged    = errors.New("memory differs from the file")
	ErrMisaligned = errors.New("not on an instruction boundary")
	ErrNotMapped  = errors.New("not mapped")
	ErrNotCode    = errors.New("not executable: a trap there would change the program's data")
	ErrExclusive  = errors.New("inside an exclusive-access sequence")
	ErrOverlap    = errors.New("inside the jump of another site")
	ErrTaken      = errors.New("no room for a mapping at that address")
	ErrRefused    = errors.New("the kernel refuses to change the code there, as it does in shared memory")
)

// SiteError says why an address can't be a site.
type SiteError struct {
	Addr arch.Addr
	Err  error
}

func (e *SiteError) Error() string { return fmt.Sprintf("probe at %s: %v", e.Addr, e.Err) }

// Unwrap gives the cause.
func (e *SiteError) Unwrap() error { return e.Err }

// notMapped is ErrNotMapped, and what reading said: the whole address space
// may be gone.
type notMapped struct{ cause error }

func (e *notMapped) Error() string   { return ErrNotMapped.Error() }
func (e *notMapped) Unwrap() []error { return []error{ErrNotMapped, e.cause} }

// refused is ErrRefused, and what writing said: the whole address space may be gone.
type refused struct{ cause error }

func (e *refused) Error() string   { return ErrRefused.Error() }
func (e *refused) Unwrap() []error { return []error{ErrRefused, e.cause} }

// Site is one patched address in one space. There may be a hundred thousand: what is small stands
// together.
type Site struct {
	Addr   arch.Addr
	Inst   arch.Inst
	Reason string    // why no faster rung
	Resume arch.Addr // where a task goes on after a hit (Slot, Emulate of a constant)
	Tag    any       // the engine's
	Rung   Rung
	// Ambiguous: a task can be where a trap here would leave it without
	// having trapped; only the siginfo tells.
	Ambiguous bool

	armed bool
	// copied: the slot is the instruction as it is, and does not go on by itself.
	copied bool
	codeN  uint8
	code   [16]byte // the program's bytes from Addr on, codeN of them
	cell   int
	area   *area
	slot   arch.Slot
	run    *run   // where the jump leads, nil without one
	patch  []byte // the trap; none of a quiet site
}

// Code is the program's own bytes from the site on: at least its instruction.
func (s *Site) Code() []byte { return s.code[:s.codeN] }

// Armed says whether the patch is in memory.
func (s *Site) Armed() bool { return s.armed }

// Jumps says whether the site is armed by a jump.
func (s *Site) Jumps() bool { return s.run != nil }

// JumpAt is where that lies, 0 without one.
func (s *Site) JumpAt() arch.Addr {
	if s.run == nil {
		return 0
	}
	return s.run.from
}

// JumpEnd is behind what it displaces, 0 without one.
func (s *Site) JumpEnd() arch.Addr {
	if s.run == nil {
		return 0
	}
	return s.run.end()
}

// End is the address of the next instruction.
func (s *Site) End() arch.Addr { return s.Addr + arch.Addr(s.Inst.Len) }

// Stepping says whether a task that is stepped through the site's slot and has
// come to pc has not left it yet. A repeated string instruction steps once a
// round.
func (s *Site) Stepping(pc arch.Addr) bool {
	if s.copied {
		return pc == s.Slot()
	}
	return pc >= s.Slot() && pc < s.Slot()+arch.Addr(s.slot.Len)
}

// Copied says whether the slot is the instruction as it is: what depends on
// where it ran is to be corrected behind it.
func (s *Site) Copied() bool { return s.copied }

// Slot is the address of the site's cell, 0 without one.
func (s *Site) Slot() arch.Addr {
	if s.area == nil {
		return 0
	}
	return s.area.cell(s.cell)
}
