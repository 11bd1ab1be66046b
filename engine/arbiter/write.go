package arbiter

import (
	"fmt"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler"
)

// Operations that require control of the process.

// SetRegisters implements engine.Session.
func (t *Tracer) SetRegisters(tid int, r arch.Regs) error {
	g, pid, err := t.mayTask(tid)
	if err != nil {
		return err
	}
	return g.write(t, pid, func() error { return g.s.SetRegisters(tid, r) })
}

// WriteMemory implements engine.Session.
func (t *Tracer) WriteMemory(pid int, addr arch.Addr, data []byte) error {
	g, err := t.may(pid)
	if err != nil {
		return err
	}
	return g.write(t, pid, func() error { return g.s.WriteMemory(pid, addr, data) })
}

// Signal implements engine.Session. Before SIGKILL the other tracers are told which tracer sends
// it.
func (t *Tracer) Signal(id, signal int) error {
	g, err := t.may(id)
	pid := id
	if err != nil {
		if g, pid, err = t.mayTask(id); err != nil {
			return err
		}
	}
	return g.write(t, pid, func() error {
		if signal == int(syscall.SIGKILL) {
			g.warn(pid, 0, "%v ends process %d", t.id, pid)
		}
		return g.s.Signal(id, signal)
	})
}

// DropSignal implements engine.Session.
func (t *Tracer) DropSignal(tid int) error {
	g, pid, err := t.mayTask(tid)
	if err != nil {
		return err
	}
	return g.write(t, pid, func() error { return g.s.DropSignal(tid) })
}

// RunHandler implements engine.Session. It requires control, since a handler may change registers.
func (t *Tracer) RunHandler(spec engine.HandlerSpec, tid int, args ...uint64) (engine.Run, error) {
	return runHandlerIn(t, spec, tid, func(s engine.Shared, spec engine.HandlerSpec) (engine.Run, error) {
		return s.RunHandler(spec, tid, args...)
	})
}

// RunHandlerFor is a tracer's RunHandler with the rights of a peer.
func RunHandlerFor(t *Tracer, by handler.Peer, spec engine.HandlerSpec, tid int, args ...uint64) (engine.Run, error) {
	return runHandlerIn(t, spec, tid, func(s engine.Shared, spec engine.HandlerSpec) (engine.Run, error) {
		return s.RunHandlerFor(by, spec, tid, args...)
	})
}

// runHandlerIn runs a handler in the session of a task, while the tracer may write.
func runHandlerIn(t *Tracer, spec engine.HandlerSpec, tid int, once func(engine.Shared, engine.HandlerSpec) (engine.Run, error)) (run engine.Run, err error) {
	g, pid, err := t.mayTask(tid)
	if err != nil {
		return run, err
	}
	if spec.Share != nil {
		of, err := ownHandler(t, spec.Share)
		if err != nil {
			return run, err
		}
		if spec.Share, err = of.at(g); err != nil {
			return run, err
		}
	}
	err = g.write(t, pid, func() error {
		run, err = once(g.s, spec)
		return err
	})
	return run, err
}

// StepAside implements engine.Session. It fails while another tracer holds a task of the process.
// All tracers that see the process are told.
func (t *Tracer) StepAside(pid int, wait time.Duration, opts ...engine.AsideOptions) error {
	g, err := t.may(pid)
	if err != nil {
		return err
	}
	return g.write(t, pid, func() error {
		g.control.Lock()
		defer g.control.Unlock()
		if err := g.alone(t, func(_ int, h *hold) bool { return h.pid == pid }); err != nil {
			return fmt.Errorf("step aside from %d: %w", pid, err)
		}
		return g.s.StepAside(pid, wait, opts...)
	})
}
