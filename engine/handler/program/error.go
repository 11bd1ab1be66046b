package program

import (
	"errors"
	"fmt"
)

// Classes of errors.
var (
	// ErrInvalid is a program that is none: instructions that do not exist,
	// jumps to nowhere.
	ErrInvalid = errors.New("no valid program")
	// ErrUnsupported is a program that the kernel may be able to run, and
	// nobody here is.
	ErrUnsupported = errors.New("unsupported")
)

// Error is why a program was refused, and where.
type Error struct {
	Program string // its name
	Section string // of the object file, "" if there is none
	Insn    int    // index, -1: not about an instruction
	Text    string // the instruction there
	Reason  string
	Err     error // class, for errors.Is
}

func (e *Error) Error() string {
	at := e.Program
	if e.Section != "" {
		at = fmt.Sprintf("section %s: %s", e.Section, at)
	}
	if e.Insn >= 0 {
		at = fmt.Sprintf("%s: instruction %d (%s)", at, e.Insn, e.Text)
	}
	return fmt.Sprintf("%s: %v: %s", at, e.Err, e.Reason)
}

// Unwrap gives the class.
func (e *Error) Unwrap() error { return e.Err }

// refuse makes the error for instruction i, -1 for the whole program.
func (p *Program) refuse(i int, class error, format string, args ...any) error {
	e := &Error{Program: p.Name, Section: p.Section, Insn: i, Reason: fmt.Sprintf(format, args...), Err: class}
	if i >= 0 && i < len(p.Insns) {
		e.Text = p.Text(i)
	}
	return e
}
