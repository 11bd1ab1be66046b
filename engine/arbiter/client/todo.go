package client

import (
	"errors"
	"time"
)

// What follows is not shared yet.

func (s *Session) InterruptTask(int) error            { return errors.ErrUnsupported }
func (s *Session) ResumeTask(int, func() bool) error  { return errors.ErrUnsupported }
func (s *Session) Step(int) error                     { return errors.ErrUnsupported }
func (s *Session) Signal(int, int) error              { return errors.ErrUnsupported }
func (s *Session) DropSignal(int) error               { return errors.ErrUnsupported }
func (s *Session) StepAside(int, time.Duration) error { return errors.ErrUnsupported }
func (s *Session) Follow(int, bool) error             { return errors.ErrUnsupported }
