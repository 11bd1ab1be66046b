package builtin

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/value"
)

// Bound is what the expressions of Params mean at a place of a program, where they have names of it.
type Bound struct {
	Exprs  [][]value.Field // of each expression its fields: args has several
	Filter string
	// Shape numbers the form of a record's fields among those of its handler.
	Shape uint32
}

// Key tells what two places have different: the shape aside. It is "" of nil.
func (b *Bound) Key() string {
	if b == nil {
		return ""
	}
	c := *b
	c.Shape = 0
	text, _ := json.Marshal(c)
	return string(text)
}

// shown is a field as it is shown: its bytes are those of several fields of the record.
type shown struct {
	value.Field
	from, to int
}

// bind parses what takes the place of expressions with names.
func (r *request) bind() error {
	if len(r.Bound.Exprs) != len(r.exprs) {
		return fmt.Errorf("%w: %d expressions for %d", ErrParams, len(r.Bound.Exprs), len(r.exprs))
	}
	open := r.exprs
	r.exprs, r.shown = nil, []shown{}
	for i, fields := range r.Bound.Exprs {
		for _, f := range fields {
			if err := r.bindField(f, open[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// bindField parses the parts of a field, which stands in the place of an expression.
func (r *request) bindField(f value.Field, open *filter.Expr) error {
	s := shown{Field: f, from: len(r.exprs)}
	if f.Type != nil && !f.Type.Whole() {
		return fmt.Errorf("%w: %s: its type is not whole", ErrParams, f.Name)
	}
	for _, p := range f.Parts {
		if p.Size < 1 || p.Size > maxRecord {
			return fmt.Errorf("%w: %s: a part of %d bytes", ErrParams, f.Name, p.Size)
		}
		if p.Gone {
			continue
		}
		e, err := filter.Parse(p.Expr, filter.Options{Strings: true, What: "expression", Context: r.ctx, As: open})
		if err != nil {
			return err
		}
		r.exprs = append(r.exprs, e)
	}
	s.to = len(r.exprs)
	r.shown = append(r.shown, s)
	return nil
}

// AllArguments is the expression that stands for all arguments of a function, in the fields of a record.
const AllArguments = "args"

// room is the space that a part of a field takes in a record, with a byte for its end.
func (l *Layout) room(i int) int {
	for _, s := range l.shown {
		if i < s.from || i >= s.to {
			continue
		}
		n := i - s.from
		for _, p := range s.Parts {
			if p.Gone {
				continue
			}
			if n == 0 {
				return int(p.Size) + 1
			}
			n--
		}
	}
	return 0
}

// decodeShown puts the values of a record's fields together.
func (l *Layout) decodeShown(rec []byte, faults uint32) []Value {
	list := make([]Value, len(l.shown))
	for i, s := range l.shown {
		v := &list[i]
		v.Name, v.Type = s.Name, s.Type
		v.Kind = Typed
		if s.Type == nil || s.Type.Kind == value.String {
			l.decodeField(v, s.from, rec, faults)
			v.Name = s.Name
			continue
		}
		at := s.from
		for _, p := range s.Parts {
			size := int(p.Size)
			if p.Gone {
				v.Bytes = append(v.Bytes, make([]byte, size)...)
				continue
			}
			if faults>>at&1 != 0 {
				v.Kind = Unreadable
				break
			}
			v.Bytes = append(v.Bytes, l.part(rec, at, size)...)
			at++
		}
	}
	return list
}

// part is the bytes of a field of the record, size of them.
func (l *Layout) part(rec []byte, i, size int) []byte {
	if !l.Fields[i].Expr.IsString() {
		n := binary.LittleEndian.Uint64(rec[l.offs[i]:])
		return binary.LittleEndian.AppendUint64(nil, n)[:min(size, 8)]
	}
	b := rec[l.offs[i]+8:][:min(size, l.Fields[i].Size)]
	return append(bytes.Clone(b), make([]byte, size-len(b))...)
}
