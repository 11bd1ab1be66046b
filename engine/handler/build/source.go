package build

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/printable"
)

// Typed returns the entries of a map as Go values: the key, and one value, or one for each CPU. K
// and V are numbers of a fixed size, or structs and arrays of these, without padding. An entry of
// another size is returned as an error, and is the last.
func Typed[K, V any](s Source, name string) iter.Seq2[Row[K, V], error] {
	return func(yield func(Row[K, V], error) bool) {
		for key, values := range s.Entries(name) {
			e := Row[K, V]{Values: make([]V, len(values))}
			err := decode(key, &e.Key)
			for i, v := range values {
				if err == nil {
					err = decode(v, &e.Values[i])
				}
			}
			if err != nil {
				yield(e, fmt.Errorf("map %q: %w", name, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Row is an entry of a map.
type Row[K, V any] struct {
	Key    K
	Values []V
}

func decode(b []byte, into any) error {
	if n := binary.Size(into); n != len(b) {
		return fmt.Errorf("%d bytes are no %T of %d", len(b), into, n)
	}
	_, err := binary.Decode(b, binary.LittleEndian, into)
	return err
}

// Dump is the contents of maps unchanged, as the Result of handlers without a Read of their own.
// Numbers of 1, 2, 4 and 8 bytes are written as numbers, other bytes in hexadecimal; array values
// that are 0 are omitted.
type Dump []DumpedMap

// DumpedMap is the contents of one map.
type DumpedMap struct {
	Name    string        `json:"name"`
	Type    string        `json:"type"`
	Entries []DumpedEntry `json:"entries"`
}

// DumpedEntry is an entry, with a value for each CPU if there are several.
type DumpedEntry struct {
	Key    raw   `json:"key"`
	Values []raw `json:"values"`
}

// raw holds bytes of a map.
type raw []byte

// DumpOf reads all maps except those for records and constants.
func DumpOf(s Source, specs []program.Map) Dump {
	d := Dump{}
	for _, m := range specs {
		if m.Type == program.RingBuf || m.Type == program.PerfEvents || m.ReadOnly {
			continue
		}
		out := DumpedMap{Name: m.Name, Type: m.Type.String(), Entries: []DumpedEntry{}}
		array := m.Type == program.Array || m.Type == program.PerCPUArray
		for key, values := range s.Entries(m.Name) {
			if e, zero := dumped(key, values); !zero || !array {
				out.Entries = append(out.Entries, e)
			}
		}
		d = append(d, out)
	}
	return d
}

func dumped(key []byte, values [][]byte) (e DumpedEntry, zero bool) {
	e.Key = append(e.Key, key...)
	zero = true
	for _, v := range values {
		e.Values = append(e.Values, append(raw{}, v...))
		for _, c := range v {
			zero = zero && c == 0
		}
	}
	return e, zero
}

func (r raw) number() (uint64, bool) {
	switch len(r) {
	case 1, 2, 4, 8:
		var b [8]byte
		copy(b[:], r)
		return binary.LittleEndian.Uint64(b[:]), true
	}
	return 0, false
}

func (r raw) String() string {
	if n, ok := r.number(); ok {
		return fmt.Sprint(n)
	}
	return hex.EncodeToString(r)
}

// MarshalJSON writes a number or a string.
func (r raw) MarshalJSON() ([]byte, error) {
	if n, ok := r.number(); ok {
		return json.Marshal(n)
	}
	return json.Marshal(hex.EncodeToString(r))
}

// MarshalJSON writes one object for each map.
func (d Dump) MarshalJSON() ([]byte, error) { return json.Marshal([]DumpedMap(d)) }

// Text writes a line for each map, and one for each entry.
func (d Dump) Text(w io.Writer, _ int) error {
	for _, m := range d {
		if err := printable.Printf(w, "%s (%s, %d)", m.Name, m.Type, len(m.Entries)); err != nil {
			return err
		}
		for _, e := range m.Entries {
			line := fmt.Appendf(nil, "  %v:", e.Key)
			for _, v := range e.Values {
				line = fmt.Appendf(line, " %v", v)
			}
			if err := printable.Write(w, string(line)); err != nil {
				return err
			}
		}
	}
	return nil
}
