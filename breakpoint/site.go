package breakpoint

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

// Memory is one address space, as it is, with the patches visible.
type Memory interface {
	Read(addr arch.Addr, buf []byte) error
	Write(addr arch.Addr, data []byte) error
}

// Mapper makes room for slots in the tracee.
type Mapper interface {
	// Map maps size bytes read-execute, all of them within reach of near.
	Map(near arch.Addr, size int) (arch.Addr, error)
	// MapAt maps whole pages at an address where nothing is mapped and no mapping of the program's
	// can grow into them; otherwise it returns ErrTaken.
	MapAt(at arch.Addr, size int) error
	// Batch makes f call MapAt several times while one task is halted for all of them. If that task
	// ends meanwhile, Batch calls f again.
	Batch(f func() error) error
}

// Rung is the way a site is served; smaller is faster.
type Rung uint8

const (
	Auto     Rung = iota // only in requests: the best that is safe
	Jump                 // a jump to a slot: no stop
	Pun                  // a jump with the next instructions as its last bytes
	Slot                 // trap, then the displaced instruction in a slot and a jump back
	Emulate              // trap, then the engine emulates the instruction
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

// Reasons for which an address can't be a site.
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

// SiteError reports why an address can't be a site.
type SiteError struct {
	Addr arch.Addr
	Err  error
}

func (e *SiteError) Error() string { return fmt.Sprintf("probe at %s: %v", e.Addr, e.Err) }

// Unwrap gives the cause.
func (e *SiteError) Unwrap() error { return e.Err }

// notMapped is ErrNotMapped with the error of the read: the whole address space may be gone.
type notMapped struct{ cause error }

func (e *notMapped) Error() string   { return ErrNotMapped.Error() }
func (e *notMapped) Unwrap() []error { return []error{ErrNotMapped, e.cause} }

// refused is ErrRefused with the error of the write: the whole address space may be gone.
type refused struct{ cause error }

func (e *refused) Error() string   { return ErrRefused.Error() }
func (e *refused) Unwrap() []error { return []error{ErrRefused, e.cause} }

// Site is one patched address in one space. There may be a hundred thousand of them, so small
// fields stand together.
type Site struct {
	Addr   arch.Addr
	Inst   arch.Inst
	Reason string    // why no faster rung
	Resume arch.Addr // where a task continues after a hit (Slot, Emulate of a constant)
	Tag    any       // the engine's
	Rung   Rung
	// Ambiguous reports that a task can be at the address where a trap here would leave it without
	// having trapped; only the siginfo tells the two apart.
	Ambiguous bool

	armed bool
	// copied: the slot is an unchanged copy of the instruction, and does not jump back by itself.
	copied     bool
	codeN      uint8
	code       [16]byte // the program's bytes from Addr on, codeN of them
	cell       int
	area       *area
	slot       arch.Slot
	trampoline *trampoline // where the jump leads, nil without one
	patch      []byte      // the trap; empty for a quiet site
}

// Code is the program's own bytes from the site on: at least its instruction.
func (s *Site) Code() []byte { return s.code[:s.codeN] }

// Armed reports whether the patch is in memory.
func (s *Site) Armed() bool { return s.armed }

// Jumps reports whether the site is armed by a jump.
func (s *Site) Jumps() bool { return s.trampoline != nil }

// JumpAt is the address of the site's jump, 0 without one.
func (s *Site) JumpAt() arch.Addr {
	if s.trampoline == nil {
		return 0
	}
	return s.trampoline.from
}

// JumpEnd is the end of the code that the jump displaces, 0 without a jump.
func (s *Site) JumpEnd() arch.Addr {
	if s.trampoline == nil {
		return 0
	}
	return s.trampoline.end()
}

// End is the address of the next instruction.
func (s *Site) End() arch.Addr { return s.Addr + arch.Addr(s.Inst.Len) }

// Stepping reports whether a task that is stepped through the site's slot, and is now at pc, has
// not left the slot yet. A repeated string instruction takes one step per repetition.
func (s *Site) Stepping(pc arch.Addr) bool {
	if s.copied {
		return pc == s.Slot()
	}
	return pc >= s.Slot() && pc < s.Slot()+arch.Addr(s.slot.Len)
}

// Copied reports whether the slot is an unchanged copy of the instruction. The caller must correct
// what depends on the address that it ran at.
func (s *Site) Copied() bool { return s.copied }

// Slot is the address of the site's cell, 0 without one.
func (s *Site) Slot() arch.Addr {
	if s.area == nil {
		return 0
	}
	return s.area.cell(s.cell)
}
