// Package value writes values of a program for people and as JSON, by their types: bytes that were read
// somewhere become numbers, names of constants, structures. A Type knows nothing of debug information,
// and can be sent to another process.
//
// The package is pure; it imports the standard library only.
package value

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Kind is what a value is.
type Kind uint8

// The kinds of values.
const (
	Opaque Kind = iota // bytes of which nothing is known
	Int                // signed
	Uint               // unsigned
	Bool
	Char    // a character, signed
	UChar   // one without a sign
	Rune    // one of UTF-8, -16 or -32
	Float   // IEEE 754: of 4 or 8 bytes
	Pointer // an address
	Enum    // an integer with names
	String  // text that was read beside the value
	Missing // nothing is known of it; Name says why
	Struct
	Union
	Array
	Slice // the number of its elements (8 bytes), and the first of them
)

// Type is the type of values.
type Type struct {
	Kind    Kind
	Name    string   `json:",omitempty"`
	Size    int64    // in bytes
	Signed  bool     `json:",omitempty"` // of Enum
	Members []Member `json:",omitempty"` // of Struct and Union
	Elem    *Type    `json:",omitempty"` // of Array
	Count   int64    `json:",omitempty"` // of Array: elements that are there
	More    int64    `json:",omitempty"` // of Array: elements that are not
	Names   []Name   `json:",omitempty"` // of Enum
	// Of a Struct that is one of several variants, a Rust enum: the member that tells which, nil if there is
	// but one, and the variants.
	Tag      *Member   `json:",omitempty"`
	Variants []Variant `json:",omitempty"`
}

// Variant is a form that a value may have.
type Variant struct {
	Name    string
	Type    *Type    // a Struct at the offset 0 of the value
	Values  []uint64 `json:",omitempty"` // of the tag
	Default bool     `json:",omitempty"` // of all other values
}

// Member is a part of a Struct.
type Member struct {
	Name      string
	Type      *Type
	Offset    int64
	BitSize   int64 `json:",omitempty"` // of a bit field
	BitOffset int64 `json:",omitempty"` // from the first bit of the value
	Gone      bool  `json:",omitempty"` // nothing is left of it
}

// Name is a name of a number.
type Name struct {
	Name  string
	Value int64
}

// Limits of a type that another process has sent.
const (
	maxDepth = 20
	maxCount = 1 << 16
)

// Whole reports whether a type has all its parts, and no more than a value needs: one that another process
// has sent may not.
func (t *Type) Whole() bool { return t.whole(0) }

func (t *Type) whole(depth int) bool {
	if depth > maxDepth || t.Size < 0 || t.Count < 0 || t.Count > maxCount || t.Kind == Array && t.Elem == nil {
		return false
	}
	for _, m := range t.Members {
		if m.Type == nil || !m.Type.whole(depth+1) {
			return false
		}
	}
	for _, v := range t.Variants {
		if v.Type == nil || !v.Type.whole(depth+1) {
			return false
		}
	}
	return (t.Tag == nil || t.Tag.Type != nil && t.Tag.Type.whole(depth+1)) && (t.Elem == nil || t.Elem.whole(depth+1))
}

// IsNumber reports whether values are numbers of up to 8 bytes.
func (t *Type) IsNumber() bool {
	switch t.Kind {
	case Int, Uint, Bool, Char, UChar, Rune, Float, Pointer, Enum:
		return t.Size <= 8
	}
	return false
}

// HasSign reports whether a number is signed.
func (t *Type) HasSign() bool { return t.Kind == Int || t.Kind == Char || t.Kind == Enum && t.Signed }

// number reads a number of size bytes from the beginning of data.
func number(data []byte, size int64, signed bool) uint64 {
	var b [8]byte
	n := copy(b[:], data[:min(size, int64(len(data)), 8)])
	v := binary.LittleEndian.Uint64(b[:])
	if shift := uint(64 - 8*n); signed && n > 0 {
		return uint64(int64(v<<shift) >> shift)
	}
	return v
}

// AppendText appends a value as people read it.
func (t *Type) AppendText(out, data []byte) []byte {
	switch t.Kind {
	case Struct, Union:
		if len(t.Variants) > 0 {
			return t.appendVariant(out, data)
		}
		return t.appendMembers(out, data)
	case Slice:
		of, rest := t.asArray(data)
		return of.AppendText(out, rest)
	case Array:
		if t.isText() {
			return t.appendChars(out, data)
		}
		out = append(out, '[')
		out = t.elements(out, data, ", ", (*Type).AppendText)
		if t.More > 0 {
			if t.Count > 0 {
				out = append(out, ", "...)
			}
			out = append(strconv.AppendInt(append(out, "... "...), t.More, 10), " more"...)
		}
		return append(out, ']')
	}
	return t.appendNumber(out, data)
}

// asArray is a slice as an array of those elements that are there.
func (t *Type) asArray(data []byte) (of *Type, rest []byte) {
	if len(data) < 8 || t.Elem == nil || t.Elem.Size <= 0 {
		return &Type{}, nil
	}
	rest = data[8:]
	n := int64(min(number(data, 8, false), 1<<62))
	of = &Type{Kind: Array, Elem: t.Elem, Count: min(n, int64(len(rest))/t.Elem.Size)}
	of.More = n - of.Count
	return of, rest
}

// appendMembers appends a structure.
func (t *Type) appendMembers(out, data []byte) []byte {
	out = append(out, '{')
	for i := range t.Members {
		m := &t.Members[i]
		if i > 0 {
			out = append(out, ", "...)
		}
		if m.Name != "" {
			out = append(append(out, m.Name...), '=')
		}
		out = m.append(out, data, (*Type).AppendText)
	}
	return append(out, '}')
}

// variant is the form that a value has, nil if its tag says none.
func (t *Type) variant(data []byte) *Variant {
	var tag uint64
	if m := t.Tag; m != nil {
		if m.Offset < 0 || m.Offset+m.Type.Size > int64(len(data)) {
			return nil
		}
		tag = number(data[m.Offset:], m.Type.Size, false)
	}
	var other *Variant
	for i := range t.Variants {
		v := &t.Variants[i]
		for _, one := range v.Values {
			if shift := uint(64 - 8*max(min(t.tagSize(), 8), 1)); one<<shift == tag<<shift {
				return v
			}
		}
		if v.Default || t.Tag == nil {
			other = v
		}
	}
	return other
}

func (t *Type) tagSize() int64 {
	if t.Tag == nil {
		return 8
	}
	return t.Tag.Type.Size
}

// appendVariant appends the form that a value has: NAME, NAME{...}, or NAME(VALUE) of one without a name.
func (t *Type) appendVariant(out, data []byte) []byte {
	v := t.variant(data)
	if v == nil {
		return append(out, '?')
	}
	out = append(out, v.Name...)
	switch m := v.Type.Members; {
	case len(m) == 0:
		return out
	case len(m) == 1 && m[0].Name == "__0":
		return append(m[0].append(append(out, '('), data, (*Type).AppendText), ')')
	}
	return v.Type.AppendText(out, data)
}

// appendVariantJSON appends the form that a value has: "NAME", or {"NAME": VALUE}.
func (t *Type) appendVariantJSON(out, data []byte) []byte {
	v := t.variant(data)
	if v == nil {
		return append(out, "null"...)
	}
	m := v.Type.Members
	if len(m) == 0 {
		return appendQuoted(out, []byte(v.Name))
	}
	out = append(appendQuoted(append(out, '{'), []byte(v.Name)), ':')
	if len(m) == 1 && m[0].Name == "__0" {
		out = m[0].append(out, data, (*Type).AppendJSON)
	} else {
		out = v.Type.AppendJSON(out, data)
	}
	return append(out, '}')
}

// AppendJSON appends a value as JSON: structures are objects. Addresses are strings in hexadecimal.
func (t *Type) AppendJSON(out, data []byte) []byte {
	switch t.Kind {
	case Struct, Union:
		if len(t.Variants) > 0 {
			return t.appendVariantJSON(out, data)
		}
		out = append(out, '{')
		for i := range t.Members {
			m := &t.Members[i]
			if i > 0 {
				out = append(out, ',')
			}
			name, _ := json.Marshal(m.Name)
			out = append(append(out, name...), ':')
			out = m.append(out, data, (*Type).AppendJSON)
		}
		return append(out, '}')
	case Slice:
		of, rest := t.asArray(data)
		return of.AppendJSON(out, rest)
	case Array:
		if t.isText() {
			return appendQuoted(out, cut(data[:min(int64(len(data)), t.Count)]))
		}
		if t.More > 0 {
			out = strconv.AppendInt(append(out, `{"len":`...), t.Count+t.More, 10)
			out = append(t.elements(append(out, `,"first":[`...), data, ",", (*Type).AppendJSON), ']', '}')
			return out
		}
		out = append(out, '[')
		return append(t.elements(out, data, ",", (*Type).AppendJSON), ']')
	case Opaque, Missing:
		return append(out, "null"...)
	case Bool, Int, Uint:
		return t.appendNumber(out, data)
	case Float:
		if f := t.float(data); math.IsNaN(f) || math.IsInf(f, 0) {
			return appendQuoted(out, t.appendNumber(nil, data))
		}
		return t.appendNumber(out, data)
	case Enum:
		if text := t.appendNumber(nil, data); text[0] == '-' || text[0] >= '0' && text[0] <= '9' {
			return append(out, text...)
		}
	case Char, UChar, Rune:
		return strconv.AppendInt(out, int64(number(data, t.Size, t.HasSign())), 10)
	}
	return appendQuoted(out, t.appendNumber(nil, data))
}

func appendQuoted(out, text []byte) []byte {
	q, _ := json.Marshal(string(text))
	return append(out, q...)
}

// append appends a member, by the bytes of what it is a member of.
func (m *Member) append(out, data []byte, write func(*Type, []byte, []byte) []byte) []byte {
	if m.Gone {
		return (&Type{}).appendGone(out, write)
	}
	if m.BitSize > 0 {
		return write(m.Type, out, m.bits(data))
	}
	if m.Offset < 0 || m.Offset+m.Type.Size > int64(len(data)) {
		return (&Type{}).appendGone(out, write)
	}
	return write(m.Type, out, data[m.Offset:m.Offset+m.Type.Size])
}

// appendGone writes what is not there: "?", or null.
func (t *Type) appendGone(out []byte, write func(*Type, []byte, []byte) []byte) []byte {
	return write(t, out, nil)
}

// bits are the bits of a bit field, as a number of its type's size.
func (m *Member) bits(data []byte) []byte {
	var v uint64
	for i := range min(m.BitSize, 64) {
		at := m.BitOffset + i
		if at < 0 || at/8 >= int64(len(data)) {
			break
		}
		v |= uint64(data[at/8]>>(at%8)&1) << i
	}
	if shift := uint(64 - min(m.BitSize, 64)); m.Type.HasSign() {
		v = uint64(int64(v<<shift) >> shift)
	}
	return binary.LittleEndian.AppendUint64(nil, v)
}

// elements appends the elements of an array; runs of equal ones are written once.
func (t *Type) elements(out, data []byte, between string, write func(*Type, []byte, []byte) []byte) []byte {
	size := t.Elem.Size
	for i := int64(0); i < t.Count; i++ {
		if (i+1)*size > int64(len(data)) || size <= 0 {
			break
		}
		if i > 0 {
			out = append(out, between...)
		}
		out = write(t.Elem, out, data[i*size:(i+1)*size])
	}
	return out
}

// isText reports whether an array is one of characters.
func (t *Type) isText() bool {
	return t.Elem != nil && t.Elem.Size == 1 && (t.Elem.Kind == Char || t.Elem.Kind == Rune || t.Elem.Kind == UChar)
}

// appendChars appends an array of characters, up to a 0.
func (t *Type) appendChars(out, data []byte) []byte {
	return strconv.AppendQuote(out, string(cut(data[:min(int64(len(data)), t.Count)])))
}

func cut(b []byte) []byte {
	for i, c := range b {
		if c == 0 {
			return b[:i]
		}
	}
	return b
}

// nameOf is the name of a number, "" if it has none.
func (t *Type) nameOf(v int64) string {
	for _, n := range t.Names {
		if n.Value == v {
			return n.Name
		}
	}
	return ""
}

// appendNumber appends a value that is no structure.
func (t *Type) appendNumber(out, data []byte) []byte {
	v := number(data, t.Size, t.HasSign())
	switch t.Kind {
	case Int:
		return strconv.AppendInt(out, int64(v), 10)
	case Uint:
		return strconv.AppendUint(out, v, 10)
	case Bool:
		switch v {
		case 0:
			return append(out, "false"...)
		case 1:
			return append(out, "true"...)
		}
		return strconv.AppendUint(out, v, 10)
	case Char, UChar, Rune:
		out = strconv.AppendInt(out, int64(v), 10)
		if r := rune(v & 0x1fffff); t.Size > 1 && unicode.IsPrint(r) || v < utf8.RuneSelf && unicode.IsPrint(rune(v)) {
			out = strconv.AppendQuoteRune(append(out, ' '), r)
		}
		return out
	case Float:
		bits := 64
		if t.Size == 4 {
			bits = 32
		}
		return strconv.AppendFloat(out, t.float(data), 'g', -1, bits)
	case Pointer:
		return strconv.AppendUint(append(out, "0x"...), v, 16)
	case Enum:
		return t.appendEnum(out, int64(v))
	case Missing:
		return append(append(append(out, '<'), t.Name...), '>')
	}
	return append(out, '?')
}

// float reads a floating point number.
func (t *Type) float(data []byte) float64 {
	v := number(data, t.Size, false)
	if t.Size == 4 {
		return float64(math.Float32frombits(uint32(v)))
	}
	return math.Float64frombits(v)
}

// appendEnum appends the name of a constant; a number without one may be several that are added.
func (t *Type) appendEnum(out []byte, v int64) []byte {
	if name := t.nameOf(v); name != "" {
		return append(out, name...)
	}
	rest, from := v, len(out)
	for _, n := range t.Names {
		if n.Value > 0 && n.Value&(n.Value-1) == 0 && rest&n.Value != 0 && v > 0 {
			if len(out) > from {
				out = append(out, '|')
			}
			out, rest = append(out, n.Name...), rest&^n.Value
		}
	}
	if rest == 0 && v != 0 {
		return out
	}
	return strconv.AppendInt(out[:from], v, 10)
}
