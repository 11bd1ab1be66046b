// Package types reads the types of debug information: what values of C, C++, Rust and Go are made of.
// Types are read when they are asked for, so that a pointer to a type costs nothing.
package types

import (
	sd "debug/dwarf"

	"github.com/ptracer/ptracer/symbols/dwarf"
)

// Kind says what values of a type are.
type Kind uint8

// The kinds of types.
const (
	Void      Kind = iota
	Bool           // Size bytes
	Int            // signed
	Uint           // unsigned
	Char           // a character: of one byte signed, or of UTF-8, -16 or -32 (Unicode)
	UChar          // a character of one byte, unsigned
	Float          // also decimal and extended ones
	Complex        // two floats
	Address        // a machine address without a type
	Null           // C++'s decltype(nullptr), and other types without values
	Pointer        // to Elem
	Reference      // C++: to Elem
	RValue         // C++: an rvalue reference to Elem
	MemberPointer
	Array    // of Count elements of Elem
	Struct   // of Members; a class, too
	Union    // of Members that overlap
	Enum     // of Enumerators, as an integer of Elem or of Size bytes
	Function // of Params, with a result of Elem
	Alias    // another name of Elem
	Const    // Elem, qualified
	Volatile
	Restrict
	Atomic
	Unknown // of a tag or an encoding that is not known
)

// Type is a type. Its elements are read when a method asks for them.
type Type struct {
	Kind    Kind
	Name    string
	Size    int64 // in bytes; -1 if it is not known
	Unicode bool  // of Char: a character of UTF-8, -16 or -32
	// Incomplete: there is only a declaration, and no other unit has been looked at for more.
	Incomplete bool
	Count      int64 // of Array: how many elements; -1 if it is not known
	Stride     int64 // of Array: bytes from one element to the next, 0: those of an element

	r     *Reader
	entry dwarf.Entry
}

// Entry is the type's entry in the debug information.
func (t *Type) Entry() dwarf.Entry { return t.entry }

// Elem is the type that this one is made of: what a pointer points to, the elements of an array, the
// type that an alias or a qualifier is of, the result of a function. It is Void if there is none.
func (t *Type) Elem() (*Type, error) {
	if t.Kind == Array && t.entry.Tag() == 0 {
		return &Type{Kind: Void, r: t.r}, nil
	}
	return t.r.typeAt(t.entry, sd.AttrType)
}

// Container is the class of which a MemberPointer points to a member.
func (t *Type) Container() (*Type, error) { return t.r.typeAt(t.entry, attrContainingType) }

const attrContainingType sd.Attr = 0x1d // DW_AT_containing_type

// maxChain is how many names and qualifiers a type may have around it.
const maxChain = 64

// Strip returns the type without other names and without qualifiers.
func (t *Type) Strip() (*Type, error) {
	for range maxChain {
		switch t.Kind {
		case Alias, Const, Volatile, Restrict, Atomic:
		default:
			return t, nil
		}
		elem, err := t.Elem()
		if err != nil {
			return nil, err
		}
		t = elem
	}
	return t, nil
}
