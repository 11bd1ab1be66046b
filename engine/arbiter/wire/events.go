package wire

import (
	"math"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/event"
)

// An event's message has the fields of all bodies. Its kind says which of them are set.

// FromEvent converts an event into a message.
func FromEvent(e *event.Event) *Event {
	m := &Event{Kind: Event_Kind(e.Kind()), Time: e.Time, Pid: int32(e.PID), Tid: int32(e.TID)}
	switch b := e.Body.(type) {
	case *event.Hit:
		fromHit(m, b)
	case *event.Stopped:
		fromHit(m, &b.Hit)
		m.Signal = int32(b.Signal)
	case *event.Signal:
		m.Signal = int32(b.Signal)
	case *event.Fork:
		m.Child = int32(b.Child)
	case *event.Clone:
		m.Child = int32(b.Child)
	case *event.Exec:
		m.Path = text(b.Path)
	case *event.Library:
		m.Path, m.Addr = text(b.Path), uint64(b.Addr)
	case *event.Unload:
		m.Path, m.Addr = text(b.Path), uint64(b.Addr)
	case *event.Exit:
		m.Status, m.Signal, m.Text = int32(b.Status), int32(b.Signal), []byte(b.Text)
	case *event.Dropped:
		m.Count = b.Count
	case *event.Print:
		m.Probe, m.Location, m.Addr, m.Text = int32(b.Probe), text(b.Location), uint64(b.Addr), []byte(b.Text)
	default:
		if s := textOf(b); s != nil {
			m.Text = []byte(*s)
		}
	}
	return m
}

// ToEvent is the reverse of FromEvent. An event of a kind that a newer server tells has nothing but
// its head.
func ToEvent(m *Event) event.Event {
	e := event.Event{Time: m.Time, PID: int(m.Pid), TID: int(m.Tid), Body: event.NewBody(kindOf(m.Kind))}
	switch b := e.Body.(type) {
	case *event.Hit:
		toHit(m, b)
	case *event.Stopped:
		toHit(m, &b.Hit)
		b.Signal = int(m.Signal)
	case *event.Signal:
		b.Signal = int(m.Signal)
	case *event.Fork:
		b.Child = int(m.Child)
	case *event.Clone:
		b.Child = int(m.Child)
	case *event.Exec:
		b.Path = m.Path
	case *event.Library:
		b.Path, b.Addr = m.Path, arch.Addr(m.Addr)
	case *event.Unload:
		b.Path, b.Addr = m.Path, arch.Addr(m.Addr)
	case *event.Exit:
		b.Status, b.Signal, b.Text = int(m.Status), int(m.Signal), string(m.Text)
	case *event.Dropped:
		b.Count = m.Count
	case *event.Print:
		b.Probe, b.Location, b.Addr, b.Text = event.ProbeID(m.Probe), m.Location, arch.Addr(m.Addr), string(m.Text)
	default:
		if s := textOf(b); s != nil {
			*s = string(m.Text)
		}
	}
	return e
}

func fromHit(m *Event, h *event.Hit) {
	m.Probe, m.Location, m.Addr, m.Calls = int32(h.Probe), text(h.Location), uint64(h.Addr), uint32(h.Calls)
	m.Args, m.Strings = h.Args[:h.NArgs:h.NArgs], ToBytes(h.Strings)
}

func toHit(m *Event, h *event.Hit) {
	h.Probe, h.Location, h.Addr = event.ProbeID(m.Probe), m.Location, arch.Addr(m.Addr)
	h.Calls = arch.Convention(min(m.Calls, uint32(arch.NotKnown)))
	h.NArgs, h.Strings = copy(h.Args[:], m.Args), ToStrings(m.Strings)
}

// textOf returns where a body that has nothing but a text has it, nil for another body.
func textOf(b event.Body) *string {
	switch b := b.(type) {
	case *event.Warning:
		return &b.Text
	case *event.Released:
		return &b.Text
	case *event.Reattached:
		return &b.Text
	case *event.ControlRequested:
		return &b.Text
	case *event.Failed:
		return &b.Text
	}
	return nil
}

// kindOf returns the kind of a message. All numbers that no Kind can have are one kind, which has no
// body.
func kindOf(k Event_Kind) event.Kind { return event.Kind(min(uint32(k), math.MaxUint8)) }
