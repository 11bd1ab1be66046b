package arbiter

import (
	"errors"
	"time"
)

// What follows is not shared yet.

func (t *Tracer) InterruptTask(int) error            { return errors.ErrUnsupported }
func (t *Tracer) ResumeTask(int, func() bool) error  { return errors.ErrUnsupported }
func (t *Tracer) Step(int) error                     { return errors.ErrUnsupported }
func (t *Tracer) Signal(int, int) error              { return errors.ErrUnsupported }
func (t *Tracer) DropSignal(int) error               { return errors.ErrUnsupported }
func (t *Tracer) StepAside(int, time.Duration) error { return errors.ErrUnsupported }
func (t *Tracer) Follow(int, bool) error             { return errors.ErrUnsupported }
