package types

import (
	sd "debug/dwarf"
	"fmt"
	"sync"

	"github.com/ptracer/ptracer/symbols/dwarf"
)

// Reader reads types, and keeps those that it has read. It may be used by several goroutines.
type Reader struct {
	mu   sync.Mutex
	seen map[key]*Type
}

// key is where a type's entry is.
type key struct {
	u   *dwarf.Unit
	off uint64
}

// NewReader makes a Reader.
func NewReader() *Reader { return &Reader{seen: map[key]*Type{}} }

// maxTypes is how many types a reader keeps; a debugger shows some hundreds.
const maxTypes = 1 << 16

// Of returns the type of what an entry describes: a variable, an argument, a member, a result.
func (r *Reader) Of(e dwarf.Entry) (*Type, error) {
	of, ok := e.With(sd.AttrType)
	if !ok {
		return &Type{Kind: Void, r: r}, nil
	}
	return r.typeAt(of, sd.AttrType)
}

// typeAt returns the type that an attribute refers to, Void if there is none.
func (r *Reader) typeAt(e dwarf.Entry, attr sd.Attr) (*Type, error) {
	to, ok, err := e.Ref(attr)
	if err != nil {
		return nil, err
	}
	if !ok {
		return &Type{Kind: Void, r: r}, nil
	}
	return r.Type(to)
}

// Type returns the type that an entry describes.
func (r *Reader) Type(e dwarf.Entry) (*Type, error) {
	if to, ok, err := e.Ref(sd.AttrSignature); ok { // declared here, in a type unit of its own
		if err != nil {
			return nil, err
		}
		e = to
	}
	k := key{e.Unit(), e.Offset()}
	r.mu.Lock()
	t := r.seen[k]
	r.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t, err := r.read(e)
	if err != nil {
		return nil, fmt.Errorf("type at %#x: %w", e.Offset(), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) >= maxTypes {
		clear(r.seen)
	}
	r.seen[k] = t
	return t, nil
}

// tags are the kinds of types by their tags, but for base types.
var tags = map[sd.Tag]Kind{
	sd.TagPointerType: Pointer, sd.TagReferenceType: Reference, sd.TagRvalueReferenceType: RValue, sd.TagPtrToMemberType: MemberPointer,
	sd.TagArrayType: Array, sd.TagStructType: Struct, sd.TagClassType: Struct, sd.TagInterfaceType: Struct, sd.TagUnionType: Union,
	sd.TagEnumerationType: Enum, sd.TagSubroutineType: Function, sd.TagSubprogram: Function, sd.TagTypedef: Alias,
	sd.TagConstType: Const, sd.TagVolatileType: Volatile, sd.TagRestrictType: Restrict, sd.TagAtomicType: Atomic,
	sd.TagUnspecifiedType: Null, sd.TagSubrangeType: Alias, tagTemplateAlias: Alias,
}

const tagTemplateAlias sd.Tag = 0x43 // DW_TAG_template_alias

// read reads a type's entry.
func (r *Reader) read(e dwarf.Entry) (*Type, error) {
	t := &Type{Name: e.Text(sd.AttrName), Size: -1, r: r, entry: e, Incomplete: e.Flag(sd.AttrDeclaration)}
	if n, ok := e.Uint(sd.AttrByteSize); ok && n < 1<<62 {
		t.Size = int64(n)
	} else if n, ok := e.Uint(sd.AttrBitSize); ok && n < 1<<62 {
		t.Size = int64(n+7) / 8
	}
	if e.Tag() == sd.TagBaseType {
		t.base()
		return t, nil
	}
	kind, ok := tags[e.Tag()]
	if !ok {
		t.Kind = Unknown
		return t, nil
	}
	t.Kind = kind
	switch kind {
	case Pointer, Reference, RValue:
		if t.Size < 0 {
			t.Size = int64(e.Unit().AddressSize())
		}
	case Array:
		return t, t.array()
	}
	if t.Size < 0 {
		t.sizeOfElem()
	}
	return t, nil
}

// Encodings of base types (DW_ATE_).
const (
	ateAddress      = 0x01
	ateBoolean      = 0x02
	ateComplexFloat = 0x03
	ateFloat        = 0x04
	ateSigned       = 0x05
	ateSignedChar   = 0x06
	ateUnsigned     = 0x07
	ateUnsignedChar = 0x08
	ateImaginary    = 0x09
	ateDecimal      = 0x0f
	ateUTF          = 0x10
	ateUCS          = 0x11
	ateASCII        = 0x12
)

// encodings are the kinds of base types.
var encodings = map[uint64]Kind{
	ateAddress: Address, ateBoolean: Bool, ateComplexFloat: Complex, ateFloat: Float, ateSigned: Int, ateSignedChar: Char,
	ateUnsigned: Uint, ateUnsignedChar: UChar, ateImaginary: Float, ateDecimal: Float, ateUTF: Char, ateUCS: Char, ateASCII: Char,
}

// base notes what a base type is.
func (t *Type) base() {
	n, _ := t.entry.Uint(sd.AttrEncoding)
	kind, ok := encodings[n]
	if !ok {
		t.Kind = Unknown
		return
	}
	t.Kind = kind
	t.Unicode = n == ateUTF || n == ateUCS
}

// sizeOfElem takes the size of an alias, of what is qualified, and of an enumeration, from the type
// that it is of.
func (t *Type) sizeOfElem() {
	at := t
	for range maxChain {
		switch at.Kind {
		case Alias, Const, Volatile, Restrict, Atomic, Enum:
		default:
			return
		}
		elem, err := at.Elem()
		if err != nil {
			return
		}
		if at = elem; at.Size >= 0 {
			t.Size = at.Size
			return
		}
	}
}
