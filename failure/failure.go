// Package failure has the forms of errors that packages of all layers make and clients look
// at: what is unsupported, and classes that belong to a wider class. It imports nothing of
// the module.
package failure

import (
	"errors"
	"fmt"
)

// Unsupported is the error of what ptracer, the CPU or the kernel can't do. errors.Is finds
// errors.ErrUnsupported in it.
type Unsupported struct {
	What  string // what is not supported
	Needs string // what it would take; "" where nothing helps
	Err   error  // the cause, or nil
}

// Unsupportedf makes one of a text.
func Unsupportedf(format string, args ...any) error {
	return &Unsupported{What: fmt.Sprintf(format, args...)}
}

func (e *Unsupported) Error() string {
	s := "unsupported"
	if e.What != "" {
		s += ": " + e.What
	}
	if e.Needs != "" {
		s += " (needs " + e.Needs + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is makes it an errors.ErrUnsupported.
func (e *Unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

// Unwrap gives the cause.
func (e *Unsupported) Unwrap() error { return e.Err }

// Kind makes a class of errors that belongs to a wider one: a text, in which errors.Is finds
// the wider class.
func Kind(text string, of error) error { return &kind{text, of} }

type kind struct {
	text string
	of   error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.of }
