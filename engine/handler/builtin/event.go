package builtin

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/ptracer/ptracer/engine/value"
	"github.com/ptracer/ptracer/printable"
)

// ErrRecord is wrapped by errors about bytes that are no record of the handler.
var ErrRecord = errors.New("record")

// Event is a decoded record.
type Event struct {
	Time     time.Duration // of the monotonic clock
	PID, TID uint32
	Cookie   uint64        // number that the probe was registered with
	Took     time.Duration // since the function's entry; 0: not known
	Values   []Value
}

// Value is a field of a record: a number, a string, or a field that could not be read.
type Value struct {
	Name string
	Num  Num
	Str  string
	Kind ValueKind
	// Of a Typed value: its bytes, and what they are.
	Bytes []byte
	Type  *value.Type
}

// ValueKind says which field of a Value is valid.
type ValueKind uint8

// Kinds of values.
const (
	Number ValueKind = iota
	String
	Unreadable
	Typed
)

// Decode decodes a record.
func (l *Layout) Decode(rec []byte) (*Event, error) {
	if len(rec) < recFields {
		return nil, fmt.Errorf("%w: %d bytes are less than its head of %d", ErrRecord, len(rec), recFields)
	}
	le := binary.LittleEndian
	info := le.Uint32(rec[recInfo:])
	size, version, fields := int(info&0xffff), info>>16&0xff, int(info>>24)
	if version != recVersion || size != l.size || fields != len(l.Fields) || len(rec) < size {
		return nil, fmt.Errorf("%w: version %d, %d bytes of %d, %d fields; it should be version %d, %d bytes, %d fields",
			ErrRecord, version, len(rec), size, fields, recVersion, l.size, len(l.Fields))
	}
	thread := le.Uint64(rec[recThread:])
	e := &Event{
		Time: time.Duration(le.Uint64(rec[recTime:])), PID: uint32(thread >> 32), TID: uint32(thread),
		Cookie: uint64(le.Uint32(rec[recCookie:])), Took: time.Duration(le.Uint64(rec[recTook:])),
	}
	faults := le.Uint32(rec[recFaults:])
	if l.shown != nil {
		e.Values = l.decodeShown(rec, faults)
		return e, nil
	}
	e.Values = make([]Value, len(l.Fields))
	for i := range l.Fields {
		l.decodeField(&e.Values[i], i, rec, faults)
	}
	return e, nil
}

// decodeField decodes field i of a record.
func (l *Layout) decodeField(v *Value, i int, rec []byte, faults uint32) {
	f := &l.Fields[i]
	v.Name, v.Kind = f.Name, Number
	switch n := binary.LittleEndian.Uint64(rec[l.offs[i]:]); {
	case faults>>i&1 != 0:
		v.Kind = Unreadable
	case f.Expr.IsString():
		v.Kind = String
		v.Str = cut(rec[l.offs[i]+8:][:f.Size], n)
		if n&recSized != 0 {
			v.Str = string(rec[l.offs[i]+8:][:min(n&^recSized, uint64(f.Size))])
		}
	default:
		v.Num = Num{n, f.Expr.Signed()}
	}
}

// cut returns a string of up to n bytes that a 0 ends.
func cut(b []byte, n uint64) string {
	b = b[:min(n, uint64(len(b)))]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func (v Value) String() string {
	switch v.Kind {
	case String:
		return strconv.Quote(v.Str)
	case Unreadable:
		return "?"
	case Typed:
		return string(v.Type.AppendText(nil, v.Bytes))
	}
	return v.Num.String()
}

// MarshalJSON writes a number, a string, or null if the field could not be read.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.Kind {
	case String:
		return json.Marshal(v.Str)
	case Unreadable:
		return []byte("null"), nil
	case Typed:
		return v.Type.AppendJSON(nil, v.Bytes), nil
	}
	return v.Num.MarshalJSON()
}

// Text writes one line: time, thread, fields, and the duration of the call.
func (e *Event) Text(w io.Writer, _ int) error {
	line := fmt.Appendf(nil, "%d.%09d %d/%d", e.Time/time.Second, e.Time%time.Second, e.PID, e.TID)
	for _, v := range e.Values {
		line = fmt.Appendf(line, " %s=%v", v.Name, v)
	}
	if e.Took != 0 {
		line = fmt.Appendf(line, " took=%v", e.Took)
	}
	return printable.Write(w, string(line))
}

// MarshalJSON writes one object, with the fields by name and in order in "fields". Times are in
// nanoseconds of the monotonic clock.
func (e *Event) MarshalJSON() ([]byte, error) {
	out := fmt.Appendf(nil, `{"time_ns":%d,"pid":%d,"tid":%d`, int64(e.Time), e.PID, e.TID)
	if e.Cookie != 0 {
		out = fmt.Appendf(out, `,"cookie":%d`, e.Cookie)
	}
	if e.Took != 0 {
		out = fmt.Appendf(out, `,"took_ns":%d`, int64(e.Took))
	}
	fields, err := e.Fields()
	if err != nil {
		return nil, err
	}
	return append(append(append(out, `,"fields":`...), fields...), '}'), nil
}

// Fields returns the values by name, in order, as one JSON object.
func (e *Event) Fields() (json.RawMessage, error) {
	out := []byte{'{'}
	for i, v := range e.Values {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(v.Name)
		if err != nil {
			return nil, err
		}
		value, err := v.MarshalJSON()
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}
