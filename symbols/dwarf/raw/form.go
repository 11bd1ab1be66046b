package raw

import (
	sd "debug/dwarf"
	"fmt"
)

// Form is how an attribute's value is written.
type Form uint16

// The forms of DWARF 5 (7.5.6), and GNU's.
const (
	FormAddr          Form = 0x01
	formBlock2        Form = 0x03
	formBlock4        Form = 0x04
	formData2         Form = 0x05
	formData4         Form = 0x06
	formData8         Form = 0x07
	FormString        Form = 0x08
	formBlock         Form = 0x09
	formBlock1        Form = 0x0a
	formData1         Form = 0x0b
	formFlag          Form = 0x0c
	formSdata         Form = 0x0d
	FormStrp          Form = 0x0e
	formUdata         Form = 0x0f
	FormRefAddr       Form = 0x10
	FormRef1          Form = 0x11
	FormRef2          Form = 0x12
	FormRef4          Form = 0x13
	FormRef8          Form = 0x14
	FormRefUdata      Form = 0x15
	FormIndirect      Form = 0x16
	FormSecOffset     Form = 0x17
	formExprloc       Form = 0x18
	formFlagPresent   Form = 0x19
	FormStrx          Form = 0x1a
	FormAddrx         Form = 0x1b
	FormRefSup4       Form = 0x1c
	FormStrpSup       Form = 0x1d
	formData16        Form = 0x1e
	FormLineStrp      Form = 0x1f
	FormRefSig8       Form = 0x20
	FormImplicitConst Form = 0x21
	FormLoclistx      Form = 0x22
	FormRnglistx      Form = 0x23
	FormRefSup8       Form = 0x24
	FormStrx1         Form = 0x25
	FormStrx2         Form = 0x26
	FormStrx3         Form = 0x27
	FormStrx4         Form = 0x28
	FormAddrx1        Form = 0x29
	FormAddrx2        Form = 0x2a
	FormAddrx3        Form = 0x2b
	FormAddrx4        Form = 0x2c
	FormGNUAddrIndex  Form = 0x1f01
	FormGNUStrIndex   Form = 0x1f02
	FormGNURefAlt     Form = 0x1f20
	FormGNUStrpAlt    Form = 0x1f21
)

// Format is what the size of a value depends on beside its form.
type Format struct {
	Version int
	Addr    int // size of an address
	Offset  int // size of an offset: 4 or 8
}

// Sizes of forms that are no number of bytes.
const (
	sizeLEB    = -1 - iota // one LEB128 number
	sizeText               // a string with its NUL
	sizeBlock              // a LEB128 length, and so many bytes
	sizeBlock1             // the same with a length of 1, 2 or 4 bytes
	sizeBlock2
	sizeBlock4
	sizeIndirect // the form comes first
	sizeUnknown
)

// Size is how many bytes a value of a form takes, or one of the constants above.
func (f Format) Size(fo Form) int {
	switch fo {
	case formFlagPresent, FormImplicitConst:
		return 0
	case formData1, FormRef1, formFlag, FormStrx1, FormAddrx1:
		return 1
	case formData2, FormRef2, FormStrx2, FormAddrx2:
		return 2
	case FormStrx3, FormAddrx3:
		return 3
	case formData4, FormRef4, FormRefSup4, FormStrx4, FormAddrx4:
		return 4
	case formData8, FormRef8, FormRefSig8, FormRefSup8:
		return 8
	case formData16:
		return 16
	case FormAddr:
		return f.Addr
	case FormRefAddr:
		if f.Version == 2 {
			return f.Addr
		}
		return f.Offset
	case FormStrp, FormLineStrp, FormSecOffset, FormStrpSup, FormGNURefAlt, FormGNUStrpAlt:
		return f.Offset
	case formSdata, formUdata, FormRefUdata, FormStrx, FormAddrx, FormLoclistx, FormRnglistx, FormGNUAddrIndex, FormGNUStrIndex:
		return sizeLEB
	case FormString:
		return sizeText
	case formBlock, formExprloc:
		return sizeBlock
	case formBlock1:
		return sizeBlock1
	case formBlock2:
		return sizeBlock2
	case formBlock4:
		return sizeBlock4
	case FormIndirect:
		return sizeIndirect
	}
	return sizeUnknown
}

// SkipSize passes a value of which size has said that it takes n.
func (b *Buf) SkipSize(f Format, n int) {
	switch n {
	case sizeLEB:
		b.SkipLEB()
	case sizeText:
		b.Text()
	case sizeBlock:
		b.Skip(b.ULEB())
	case sizeBlock1:
		b.Skip(uint64(b.U8()))
	case sizeBlock2:
		b.Skip(uint64(b.U16()))
	case sizeBlock4:
		b.Skip(uint64(b.U32()))
	case sizeIndirect:
		n := f.Size(Form(b.ULEB()))
		if n == sizeIndirect {
			n = sizeUnknown
		}
		b.SkipSize(f, n)
	case sizeUnknown:
		b.Fail(fmt.Errorf("%w: a form that is not known", ErrFormat))
	default:
		b.Skip(uint64(n))
	}
}

// Attribute is one attribute of an abbreviation.
type Attribute struct {
	Attr     sd.Attr
	Form     Form
	Implicit int64 // the value, of formImplicitConst
}

// Value is the value of an attribute as it is written: a number, or bytes. Unit's methods say what
// it stands for.
type Value struct {
	Form Form
	Num  uint64
	Raw  []byte
}

// Read reads a value. Its bytes are a part of the buffer.
func (b *Buf) Read(f Format, a Attribute) Value {
	v := Value{Form: a.Form}
	if v.Form == FormIndirect {
		if v.Form = Form(b.ULEB()); v.Form == FormIndirect || v.Form == FormImplicitConst {
			b.Fail(fmt.Errorf("%w: an indirect form that is %#x", ErrFormat, v.Form))
		}
	}
	switch n := f.Size(v.Form); n {
	case 0:
		v.Num = 1
		if v.Form == FormImplicitConst {
			v.Num = uint64(a.Implicit)
		}
	case 1, 2, 3, 4, 8:
		v.Num = b.Uint(n)
	case 16:
		v.Raw = b.Bytes(16)
	case sizeLEB:
		if v.Form == formSdata {
			v.Num = uint64(b.SLEB())
		} else {
			v.Num = b.ULEB()
		}
	case sizeText:
		v.Raw = b.Text()
	case sizeBlock:
		v.Raw = b.Bytes(b.ULEB())
	case sizeBlock1:
		v.Raw = b.Bytes(uint64(b.U8()))
	case sizeBlock2:
		v.Raw = b.Bytes(uint64(b.U16()))
	case sizeBlock4:
		v.Raw = b.Bytes(uint64(b.U32()))
	default:
		b.Fail(fmt.Errorf("%w: form %#x is not known", ErrFormat, v.Form))
	}
	return v
}

// Uint is the value of a number or a flag.
func (v Value) Uint() (uint64, bool) {
	switch v.Form {
	case formData1, formData2, formData4, formData8, formUdata, formSdata, FormImplicitConst, formFlag, formFlagPresent, FormSecOffset:
		return v.Num, true
	}
	return 0, false
}

// Int is the value of a number with its sign. A number of fixed size is taken to have one: DWARF
// leaves that to the type that it is of.
func (v Value) Int() (int64, bool) {
	switch v.Form {
	case formData1:
		return int64(int8(v.Num)), true
	case formData2:
		return int64(int16(v.Num)), true
	case formData4:
		return int64(int32(v.Num)), true
	}
	n, ok := v.Uint()
	return int64(n), ok
}

// Block is the value of a block or an expression.
func (v Value) Block() ([]byte, bool) {
	switch v.Form {
	case formBlock, formBlock1, formBlock2, formBlock4, formExprloc, formData16:
		return v.Raw, true
	}
	return nil, false
}
