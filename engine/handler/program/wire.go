package program

import (
	"encoding/binary"
	"fmt"
)

// InsnSize is the length of an instruction in the kernel's form, in bytes.
const InsnSize = 8

// Bytes returns the instructions in the form of bpf(2) (struct bpf_insn, little endian), except
// that loads of maps hold the map's index where the kernel expects a file descriptor.
func (p *Program) Bytes() []byte {
	raw := make([]byte, 0, len(p.Insns)*InsnSize)
	for _, in := range p.Insns {
		raw = append(raw, in.Op, in.Dst&15|in.Src<<4)
		raw = binary.LittleEndian.AppendUint16(raw, uint16(in.Off))
		raw = binary.LittleEndian.AppendUint32(raw, uint32(in.Imm))
	}
	return raw
}

// FromBytes is the reverse of Bytes. Functions start at the targets of calls and of loads of
// functions. Validate checks the program.
func FromBytes(name string, raw []byte, maps []Map) (*Program, error) {
	p := &Program{Name: name, Maps: maps}
	if len(raw)%InsnSize != 0 {
		return nil, fmt.Errorf("%w: %s: %d bytes are no whole number of instructions", ErrInvalid, name, len(raw))
	}
	for ; len(raw) > 0; raw = raw[InsnSize:] {
		p.Insns = append(p.Insns, decode(raw))
	}
	if err := p.findFuncs(nil); err != nil {
		return nil, err
	}
	return p, Validate(p)
}

// decode returns the first instruction in raw.
func decode(raw []byte) Insn {
	return Insn{
		Op: raw[0], Dst: raw[1] & 15, Src: raw[1] >> 4,
		Off: int16(binary.LittleEndian.Uint16(raw[2:])),
		Imm: int32(binary.LittleEndian.Uint32(raw[4:])),
	}
}
