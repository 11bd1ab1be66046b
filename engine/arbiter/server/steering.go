package server

import (
	"context"
	"fmt"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
)

// Requests that stop, inspect and change tasks.

// Interrupt implements wire.ArbiterServer.
func (s steering) Interrupt(ctx context.Context, r *wire.ProcessRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Interrupt(int(r.Pid)) })
}

// InterruptTask implements wire.ArbiterServer.
func (s steering) InterruptTask(ctx context.Context, r *wire.TaskRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.InterruptTask(int(r.Id)) })
}

// Resume implements wire.ArbiterServer.
func (s steering) Resume(ctx context.Context, r *wire.TaskRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Resume(int(r.Id)) })
}

// ResumeTask implements wire.ArbiterServer.
func (s steering) ResumeTask(ctx context.Context, r *wire.TaskRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.ResumeTask(int(r.Id)) })
}

// Step implements wire.ArbiterServer.
func (s steering) Step(ctx context.Context, r *wire.TaskRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Step(int(r.Id)) })
}

// Signal implements wire.ArbiterServer.
func (s steering) Signal(ctx context.Context, r *wire.SignalRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Signal(int(r.Id), int(r.Signal)) })
}

// DropSignal implements wire.ArbiterServer.
func (s steering) DropSignal(ctx context.Context, r *wire.TaskRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.DropSignal(int(r.Id)) })
}

// StepAside implements wire.ArbiterServer.
func (s steering) StepAside(ctx context.Context, r *wire.StepAsideRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error {
		return t.StepAside(int(r.Pid), time.Duration(r.Wait), engine.AsideOptions{KeepJumps: r.KeepJumps})
	})
}

// Control implements wire.ArbiterServer.
func (s steering) Control(ctx context.Context, r *wire.ControlRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error {
		return t.Tracer.Control(ctx, int(r.Pid), arbiter.Ask{Time: time.Duration(r.Time), Wait: time.Duration(r.Wait), Force: r.Force})
	})
}

// Yield implements wire.ArbiterServer.
func (s steering) Yield(ctx context.Context, r *wire.ProcessRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.Yield(int(r.Pid)) })
}

// Tasks implements wire.ArbiterServer.
func (s steering) Tasks(ctx context.Context, r *wire.ProcessRequest) (*wire.TasksReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	tasks, err := t.Tasks(int(r.Pid))
	reply := &wire.TasksReply{}
	for i := range tasks {
		reply.Tasks = append(reply.Tasks, wire.FromTask(&tasks[i]))
	}
	return reply, err
}

// Registers implements wire.ArbiterServer.
func (s steering) Registers(ctx context.Context, r *wire.TaskRequest) (*wire.RegistersReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	regs, err := t.Registers(int(r.Id))
	return &wire.RegistersReply{Values: regs[:t.ISA().NumRegs()]}, err
}

// SetRegisters implements wire.ArbiterServer.
func (s steering) SetRegisters(ctx context.Context, r *wire.SetRegistersRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error {
		var regs arch.Regs
		if n := t.ISA().NumRegs(); len(r.Values) != n {
			return fmt.Errorf("%w: %d registers, there are %d", wire.ErrMessage, len(r.Values), n)
		}
		copy(regs[:], r.Values)
		return t.SetRegisters(int(r.Tid), regs)
	})
}

// maxRead is the most memory that one request reads, in bytes.
const maxRead = 1 << 20

// ReadMemory implements wire.ArbiterServer.
func (s steering) ReadMemory(ctx context.Context, r *wire.ReadMemoryRequest) (*wire.ReadMemoryReply, error) {
	t, err := s.tracer(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	if r.Length < 0 || r.Length > maxRead {
		return nil, fmt.Errorf("%w: %d bytes: up to %d are read at once", wire.ErrMessage, r.Length, maxRead)
	}
	b := make([]byte, r.Length)
	err = t.ReadMemory(int(r.Pid), arch.Addr(r.Addr), b)
	return &wire.ReadMemoryReply{Data: b}, err
}

// WriteMemory implements wire.ArbiterServer.
func (s steering) WriteMemory(ctx context.Context, r *wire.WriteMemoryRequest) (*wire.Empty, error) {
	return s.answer(ctx, r.Token, func(t *tracer) error { return t.WriteMemory(int(r.Pid), arch.Addr(r.Addr), r.Data) })
}
