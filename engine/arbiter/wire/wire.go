// Package wire is the arbiter's control protocol: the messages of ptracer.proto, and their
// conversion to and from values of the engine. It only converts; packages server and client send
// the messages.
package wire

//go:generate make -C ../../.. generate

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/event"
)

// Protocol counts the additions to ptracer.proto. Least is the smallest Protocol of a client that a
// server of this one serves.
const (
	Protocol = 2
	Least    = 1
)

// MaxMessage is the largest size of a message, in bytes.
const MaxMessage = 16 << 20

// text makes a name valid in a message: the names of files and functions are arbitrary bytes, and a
// message must be UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func texts(list []string) (out []string) {
	for _, s := range list {
		out = append(out, text(s))
	}
	return out
}

// ToBytes converts strings into bytes.
func ToBytes(list []string) (out [][]byte) {
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}

// ToStrings is the reverse of ToBytes.
func ToStrings(list [][]byte) (out []string) {
	for _, b := range list {
		out = append(out, string(b))
	}
	return out
}

// Bounds of a request for a probe, in bytes: its location, and each function in Except.
const maxLocation, maxExcept = 4096, 1024

var watches = map[engine.Access]string{engine.AccessExecute: "execute", engine.AccessWrite: "write", engine.AccessReadWrite: "readwrite"}

// FromSpec converts a probe's spec into a message, without its Func and its handler.
func FromSpec(s *engine.ProbeSpec) *RegisterRequest {
	m := &RegisterRequest{Location: text(s.Location), Pid: Narrow(s.PID), Action: RegisterRequest_Action(s.Action), Args: Narrow(len(s.Args)),
		Rung: s.Rung.String(), Watch: watches[s.Watch], Length: Narrow(s.Len), Pending: s.Pending, Cookie: s.Cookie,
		Alone: s.Alone, Except: narrow(s.Except), Held: s.Held}
	for i, arg := range s.Args {
		if arg.Text {
			m.Strings |= 1 << i
		}
	}
	if s.Action == engine.ActionCall {
		m.Action = RegisterRequest_STOP
	}
	return m
}

// ToSpec is the reverse of FromSpec.
func ToSpec(m *RegisterRequest) (engine.ProbeSpec, error) {
	s := engine.ProbeSpec{Location: m.Location, PID: int(m.Pid), Action: engine.Action(m.Action),
		Len: int(m.Length), Pending: m.Pending, Cookie: m.Cookie, Alone: m.Alone, Except: widen(m.Except), Held: m.Held}
	switch {
	case m.Action < 0 || m.Action > RegisterRequest_STOP, m.Strings > 255, m.Args < 0 || m.Args > event.MaxArgs, m.Pid < 0:
		return s, fmt.Errorf("%w: action %d, strings %#x, %d arguments, process %d", ErrMessage, m.Action, m.Strings, m.Args, m.Pid)
	case len(m.Location) > maxLocation, len(m.Except) > maxExcept:
		return s, fmt.Errorf("%w: a location of %d bytes, %d processes left out", ErrMessage, len(m.Location), len(m.Except))
	case m.Length != 0 && m.Length != 1 && m.Length != 2 && m.Length != 4 && m.Length != 8:
		return s, fmt.Errorf("%w: %d bytes are watched at once: 1, 2, 4 or 8 can be", ErrMessage, m.Length)
	}
	for i := range m.Args {
		s.Args = append(s.Args, engine.Arg{Text: m.Strings>>i&1 != 0})
	}
	var err error
	if m.Rung != "" {
		if s.Rung, err = breakpoint.ParseRung(m.Rung); err != nil {
			return s, fmt.Errorf("%w: %w", ErrMessage, err)
		}
	}
	if m.Watch == "" {
		return s, nil
	}
	for access, name := range watches {
		if name == m.Watch {
			s.Watch = access
			return s, nil
		}
	}
	return s, fmt.Errorf("%w: watch %q: there are execute, write, readwrite", ErrMessage, m.Watch)
}

// FromPlacement converts a placement into a message.
func FromPlacement(p *engine.Placement) *Placement {
	m := &Placement{Probe: int32(p.Probe), Pid: int32(p.PID), Name: text(p.Name), Addr: uint64(p.Addr), Rung: p.Rung.String(), Reason: text(p.Reason), Gap: text(p.Gap), Hits: p.Hits, Space: int32(p.Space), Exit: p.Exit}
	if p.Err != nil {
		m.Error = message(p.Err)
		m.ErrorReason, m.ErrorMetadata = pack(p.Err)
	}
	return m
}

// ToPlacement is the reverse of FromPlacement.
func ToPlacement(m *Placement) engine.Placement {
	p := engine.Placement{Probe: event.ProbeID(m.Probe), PID: int(m.Pid), Name: m.Name, Addr: arch.Addr(m.Addr), Reason: m.Reason, Gap: m.Gap, Hits: m.Hits, Space: int(m.Space), Exit: m.Exit}
	p.Rung, _ = breakpoint.ParseRung(m.Rung)
	if m.Error != "" {
		p.Err = unpack(m.Error, m.ErrorReason, m.ErrorMetadata)
	}
	return p
}

// FromTracer converts a tracer's description into a message.
func FromTracer(i *arbiter.TracerInfo) *Tracer {
	m := &Tracer{Id: int32(i.ID), Name: text(i.Name), Pid: int32(i.PID), Uid: i.UID, Since: i.Since.UnixNano(),
		Processes: narrow(i.Processes), Probes: texts(i.Probes), Handlers: int32(i.Handlers), Missed: i.Missed, Late: i.Late, Hits: i.Hits}
	for _, c := range i.Controls {
		m.Controls = append(m.Controls, &Control{Pid: int32(c.PID), Until: c.Until.UnixNano(), Asked: c.Asked, Waiting: int32(c.Waiting)})
	}
	for _, h := range i.Holds {
		x := &Hold{Pid: int32(h.PID), Tid: int32(h.TID), Since: h.Since.UnixNano()}
		if !h.Until.IsZero() {
			x.Until = h.Until.UnixNano()
		}
		m.Holds = append(m.Holds, x)
	}
	return m
}

// ToTracer is the reverse of FromTracer.
func ToTracer(m *Tracer) arbiter.TracerInfo {
	i := arbiter.TracerInfo{ID: int(m.Id), Name: m.Name, PID: int(m.Pid), UID: m.Uid, Since: time.Unix(0, m.Since),
		Processes: widen(m.Processes), Probes: m.Probes, Handlers: int(m.Handlers), Missed: m.Missed, Late: m.Late, Hits: m.Hits}
	for _, c := range m.Controls {
		i.Controls = append(i.Controls, arbiter.Control{PID: int(c.Pid), Until: time.Unix(0, c.Until), Asked: c.Asked, Waiting: int(c.Waiting)})
	}
	for _, h := range m.Holds {
		x := arbiter.Hold{PID: int(h.Pid), TID: int(h.Tid), Since: time.Unix(0, h.Since)}
		if h.Until != 0 {
			x.Until = time.Unix(0, h.Until)
		}
		i.Holds = append(i.Holds, x)
	}
	return i
}

// FromTask converts a task into a message.
func FromTask(t *engine.Task) *Task {
	return &Task{Tid: int32(t.TID), Name: text(t.Name), Stopped: t.Stopped, Pc: uint64(t.PC), Signal: int32(t.Signal)}
}

// ToTask is the reverse of FromTask.
func ToTask(m *Task) engine.Task {
	return engine.Task{TID: int(m.Tid), Name: m.Name, Stopped: m.Stopped, PC: arch.Addr(m.Pc), Signal: int(m.Signal)}
}

// Narrow converts the number of a process, a task or a signal for a message. A number that does not
// fit becomes -1, which is never the number of anything.
func Narrow(n int) int32 {
	if n < math.MinInt32 || n > math.MaxInt32 {
		return -1
	}
	return int32(n)
}

func narrow(list []int) (out []int32) {
	for _, n := range list {
		out = append(out, Narrow(n))
	}
	return out
}

func widen(list []int32) (out []int) {
	for _, n := range list {
		out = append(out, int(n))
	}
	return out
}

// ErrMessage is wrapped by errors about invalid messages.
var ErrMessage = errors.New("not a valid request")
