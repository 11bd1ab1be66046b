package builtin

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/printable"
)

// maxValues is the largest number of different values that a map may hold.
const maxValues = 1 << 22

// Distinct counts the values of a number, up to most different ones. Map "values", hash: the key is
// the value, 8 bytes, the value its count; map "misses". Cost: a lookup in a hash and an addition
// to a word that all CPUs share.
func Distinct(ctx program.Context, at build.Point, e *filter.Expr, most int) (*build.Handler, error) {
	if err := checkPoint(at, e); err != nil {
		return nil, err
	}
	if most < 1 || most > maxValues {
		return nil, fmt.Errorf("%w: room for %d different values: 1 to %d are possible", ErrParams, most, maxValues)
	}
	b := build.New("distinct", ctx)
	values := b.Map(program.Map{Name: "values", Type: program.Hash, KeySize: 8, ValueSize: 8, MaxEntries: uint32(most)})
	miss := newMisses(b)
	fault, full, key := b.NewLabel(), b.NewLabel(), b.Slot(8)
	e.Emit(b, build.R0, fault)
	b.Store(key, build.R0)
	b.LookupOrInit(values, key, full)
	b.Inc(build.At(build.R0, 0))
	b.Stop()
	miss.count(b, full, missFull)
	if e.Reads() {
		miss.count(b, fault, missFault)
	}
	label, signed := e.Text(), e.Signed()
	return finish(b, at, func(s build.Source) (build.Result, error) { return ReadDistinct(s, label, signed), nil })
}

// Frequency is a value and how often it was seen.
type Frequency struct {
	Value Num    `json:"value"`
	Count uint64 `json:"count"`
}

// Values is the result of distinct, the most frequent first.
type Values struct {
	Label  string      `json:"label"`
	Values []Frequency `json:"values"`
	Misses
}

// ReadDistinct reads distinct's maps.
func ReadDistinct(s build.Source, label string, signed bool) *Values {
	r := &Values{Label: label, Values: []Frequency{}, Misses: readMisses(s)}
	for key, values := range s.Entries("values") {
		if len(key) == 8 {
			v := Num{binary.LittleEndian.Uint64(key), signed}
			r.Values = append(r.Values, Frequency{v, total(values, 0)})
		}
	}
	slices.SortFunc(r.Values, func(a, b Frequency) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value.Bits, b.Value.Bits))
	})
	return r
}

// Text writes one line per value.
func (r *Values) Text(w io.Writer, _ int) error {
	label := printable.Text(r.Label)
	wide := len(label)
	for _, f := range r.Values {
		wide = max(wide, len(f.Value.String()))
	}
	if err := printable.Printf(w, "%*s  count", wide, label); err != nil {
		return err
	}
	for _, f := range r.Values {
		if err := printable.Printf(w, "%*v  %d", wide, f.Value, f.Count); err != nil {
			return err
		}
	}
	if s := r.Misses.Missing(); s != "" {
		return printable.Write(w, s)
	}
	return nil
}

// MarshalJSON writes the fields under their lower-case names.
func (r *Values) MarshalJSON() ([]byte, error) {
	type plain Values
	return json.Marshal((*plain)(r))
}
