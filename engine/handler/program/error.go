package program

import (
	"errors"
	"fmt"
)

// ErrInvalid is returned for an invalid program: instructions that do not exist, or jumps to
// nowhere. For a program that the kernel may be able to run, but no executor here can, the error is
// a failure.Unsupported.
var ErrInvalid = errors.New("no valid program")

// Error says why a program was refused, and where.
type Error struct {
	Program string // its name
	Section string // of the object file, "" if there is none
	Insn    int    // index, -1: not about an instruction
	Text    string // the instruction there
	Err     error  // the reason: an ErrInvalid or a *failure.Unsupported
}

func (e *Error) Error() string {
	at := e.Program
	if e.Section != "" {
		at = fmt.Sprintf("section %s: %s", e.Section, at)
	}
	if e.Insn >= 0 {
		at = fmt.Sprintf("%s: instruction %d (%s)", at, e.Insn, e.Text)
	}
	return fmt.Sprintf("%s: %v", at, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// invalid makes an ErrInvalid with a text.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// refuse makes the error for instruction i, or with -1 for the whole program.
func (p *Program) refuse(i int, why error) error {
	e := &Error{Program: p.Name, Section: p.Section, Insn: i, Err: why}
	if i >= 0 && i < len(p.Insns) {
		e.Text = p.Text(i)
	}
	return e
}
