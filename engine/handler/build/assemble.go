package build

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// assemble turns instructions into the portable form. Loads of maps hold the
// map's index where a loaded program has a file descriptor.
func assemble(name string, insns asm.Instructions, maps []program.Map) (*program.Program, error) {
	var raw bytes.Buffer
	if err := insns.Marshal(&raw, binary.LittleEndian); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBuild, name, err)
	}
	p := &program.Program{Name: name, Funcs: []program.Func{{Name: name}}, Maps: maps}
	for b := raw.Bytes(); len(b) >= asm.InstructionSize; b = b[asm.InstructionSize:] {
		p.Insns = append(p.Insns, program.Insn{
			Op: b[0], Dst: b[1] & 15, Src: b[1] >> 4,
			Off: int16(binary.LittleEndian.Uint16(b[2:])),
			Imm: int32(binary.LittleEndian.Uint32(b[4:])),
		})
	}
	return p, nil
}
