package arch

import "encoding/binary"

// Buffer collects code for the address Addr.
type Buffer struct {
	Addr Addr // address of the first byte
	Code []byte
}

// PC is the address of the next byte.
func (b *Buffer) PC() Addr { return b.Addr + Addr(len(b.Code)) }

// Bytes appends p.
func (b *Buffer) Bytes(p ...byte) { b.Code = append(b.Code, p...) }

// Uint32 appends v, little-endian.
func (b *Buffer) Uint32(v uint32) { b.Code = binary.LittleEndian.AppendUint32(b.Code, v) }

// Uint64 appends v, little-endian.
func (b *Buffer) Uint64(v uint64) { b.Code = binary.LittleEndian.AppendUint64(b.Code, v) }

// Reset empties b, keeps its memory, and sets Addr.
func (b *Buffer) Reset(addr Addr) { b.Addr, b.Code = addr, b.Code[:0] }
