package client

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/build"
)

// hit is a hit with a task that the server holds for a Func.
type hit struct {
	s    *Session
	e    event.Event
	at   *event.Hit // the place: in the event's body
	regs *arch.Regs // read at the first use
	stay bool
}

var _ engine.Hit = (*hit)(nil)

func (h *hit) PID() int             { return h.e.PID }
func (h *hit) TID() int             { return h.e.TID }
func (h *hit) Probe() event.ProbeID { return h.at.Probe }
func (h *hit) Location() string     { return h.at.Location }
func (h *hit) Addr() arch.Addr      { return h.at.Addr }
func (h *hit) Stop()                { h.stay = true }

// Registers implements engine.Hit.
func (h *hit) Registers() arch.Regs {
	if h.regs == nil {
		r, err := h.s.Registers(h.e.TID)
		if err != nil {
			h.tell(err)
		}
		h.regs = &r
	}
	return *h.regs
}

// Calls implements engine.Hit.
func (h *hit) Calls() arch.Convention { return h.at.Calls }

// Arg implements engine.Hit.
func (h *hit) Arg(i int) uint64 {
	r := h.Registers()
	switch {
	case h.at.Calls == arch.NotKnown:
		h.tell(fmt.Errorf("%s: argument %d: %w", h.at.Location, i, build.ErrNotKnown))
	case h.at.Calls == arch.GoStack && i >= 0:
		var b [8]byte
		if err := h.ReadMemory(arch.Addr(r[h.s.isa.SPReg()]+uint64(arch.StackArg(i))), b[:]); err != nil {
			h.tell(err)
		}
		return binary.LittleEndian.Uint64(b[:])
	}
	v, _ := h.s.isa.Arg(h.at.Calls, &r, i)
	return v
}

// Result implements engine.Hit.
func (h *hit) Result() uint64 {
	if h.at.Calls == arch.GoStack || h.at.Calls == arch.NotKnown {
		h.tell(fmt.Errorf("%s: result: %w", h.at.Location, build.ErrNotKnown))
		return 0
	}
	r := h.Registers()
	return h.s.isa.Result(&r)
}

// SetRegisters implements engine.Hit.
func (h *hit) SetRegisters(r arch.Regs) {
	if err := h.s.SetRegisters(h.e.TID, r); err != nil {
		h.tell(err)
		return
	}
	h.regs = &r
}

// ReadMemory implements engine.Hit.
func (h *hit) ReadMemory(addr arch.Addr, buf []byte) error {
	return h.s.ReadMemory(h.e.PID, addr, buf)
}

// WriteMemory implements engine.Hit.
func (h *hit) WriteMemory(addr arch.Addr, data []byte) error {
	return h.s.WriteMemory(h.e.PID, addr, data)
}

// longest is the longest string that String reads, and step the size of its reads, in bytes: no
// read crosses the end of a page.
const longest, step = 256, 64

// String implements engine.Hit.
func (h *hit) String(addr arch.Addr) string {
	var all []byte
	for len(all) < longest {
		b := make([]byte, step-int(addr%step))
		if h.ReadMemory(addr, b) != nil {
			break
		}
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(append(all, b[:i]...))
		}
		all, addr = append(all, b...), addr+arch.Addr(len(b))
	}
	return string(all[:min(len(all), longest)])
}

// tell makes a warning of an error that a method of Hit can't return.
func (h *hit) tell(err error) {
	h.s.Put(warning(h.e.PID, h.e.TID, err.Error()), true)
}
