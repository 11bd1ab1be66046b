// Package raw reads what debug information is written with: sections, inflated where they are
// compressed, numbers, and the forms of values.
package raw

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrFormat is wrapped by errors about debug information that is damaged.
var ErrFormat = errors.New("damaged debug information")

// ErrShort says that something ends too early.
var ErrShort = fmt.Errorf("%w: it ends too early", ErrFormat)

// Buf reads values one after the other. After an error all values are 0.
type Buf struct {
	B   []byte
	Off int
	Err error
}

// Fail notes the first error, and moves to the end.
func (b *Buf) Fail(err error) {
	if b.Err == nil {
		b.Err = err
	}
	b.Off = len(b.B)
}

// Left is how many bytes have not been read.
func (b *Buf) Left() int { return len(b.B) - b.Off }

// Bytes returns the next n bytes, which are a part of the buffer.
func (b *Buf) Bytes(n uint64) []byte {
	if n > uint64(b.Left()) {
		b.Fail(ErrShort)
		return nil
	}
	p := b.B[b.Off : b.Off+int(n)]
	b.Off += int(n)
	return p
}

func (b *Buf) Skip(n uint64) {
	if n > uint64(b.Left()) {
		b.Fail(ErrShort)
		return
	}
	b.Off += int(n)
}

func (b *Buf) U8() uint8 {
	if b.Off >= len(b.B) {
		b.Fail(ErrShort)
		return 0
	}
	b.Off++
	return b.B[b.Off-1]
}

func (b *Buf) U16() uint16 {
	if b.Left() < 2 {
		b.Fail(ErrShort)
		return 0
	}
	b.Off += 2
	return binary.LittleEndian.Uint16(b.B[b.Off-2:])
}

func (b *Buf) U32() uint32 {
	if b.Left() < 4 {
		b.Fail(ErrShort)
		return 0
	}
	b.Off += 4
	return binary.LittleEndian.Uint32(b.B[b.Off-4:])
}

func (b *Buf) U64() uint64 {
	if b.Left() < 8 {
		b.Fail(ErrShort)
		return 0
	}
	b.Off += 8
	return binary.LittleEndian.Uint64(b.B[b.Off-8:])
}

// Uint reads a number of size bytes: 1, 2, 3, 4 or 8.
func (b *Buf) Uint(size int) uint64 {
	switch size {
	case 1:
		return uint64(b.U8())
	case 2:
		return uint64(b.U16())
	case 3:
		low := uint64(b.U16())
		return low | uint64(b.U8())<<16
	case 4:
		return uint64(b.U32())
	case 8:
		return b.U64()
	}
	b.Fail(fmt.Errorf("%w: a number of %d bytes", ErrFormat, size))
	return 0
}

// ULEB reads an unsigned LEB128 number; what does not fit into 64 bits is cut off.
func (b *Buf) ULEB() uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		c := b.U8()
		v |= uint64(c&0x7f) << min(shift, 64)
		if c < 0x80 {
			return v
		}
	}
}

// SLEB reads a signed LEB128 number.
func (b *Buf) SLEB() int64 {
	var v int64
	for shift := uint(0); ; {
		c := b.U8()
		v |= int64(c&0x7f) << min(shift, 64)
		shift += 7
		if c < 0x80 {
			if c&0x40 != 0 && shift < 64 {
				v |= -1 << shift
			}
			return v
		}
	}
}

// SkipLEB passes a LEB128 number.
func (b *Buf) SkipLEB() {
	for b.U8() >= 0x80 {
	}
}

// Text reads a string that ends with a NUL.
func (b *Buf) Text() []byte {
	n := bytes.IndexByte(b.B[b.Off:], 0)
	if n < 0 {
		b.Fail(ErrShort)
		return nil
	}
	p := b.B[b.Off : b.Off+n]
	b.Off += n + 1
	return p
}

// Length reads the length that a unit begins with, and reports whether its offsets have 8 bytes.
func (b *Buf) Length() (n uint64, wide bool) {
	switch v := b.U32(); {
	case v == 0xffffffff:
		return b.U64(), true
	case v >= 0xfffffff0:
		b.Fail(fmt.Errorf("%w: a length of %#x", ErrFormat, v))
		return 0, false
	default:
		return uint64(v), false
	}
}
