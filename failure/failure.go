// Package failure defines kinds of errors that packages of all layers return and clients examine:
// unsupported operations, and classes that belong to a wider class. It imports nothing of the
// module.
package failure

import (
	"errors"
	"fmt"
)

// Unsupported is returned for an operation that ptracer, the CPU or the kernel does not support.
// errors.Is finds errors.ErrUnsupported in it.
type Unsupported struct {
	What  string // what is not supported
	Needs string // what would help; "" if nothing does
	Err   error  // the cause, or nil
}

// Unsupportedf makes an Unsupported with a text as What.
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

// Is makes errors.Is find errors.ErrUnsupported.
func (e *Unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

// Unwrap returns the cause.
func (e *Unsupported) Unwrap() error { return e.Err }

// Kind makes a class of errors that belongs to a wider class: an error with a text, in which
// errors.Is finds the wider class.
func Kind(text string, of error) error { return &kind{text, of} }

type kind struct {
	text string
	of   error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.of }
