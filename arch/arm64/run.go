package arm64

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

func (isa) JumpLen() int { return instLen }

func (isa) Jump(from, to arch.Addr) ([]byte, error) {
	delta := int64(to - from)
	if delta < -branchReach || delta >= branchReach || delta%instLen != 0 {
		return nil, fmt.Errorf("%w: %v is out of a jump's reach from %v", arch.ErrUnsupported, to, from)
	}
	b := make([]byte, instLen)
	put32(b, encBranch(delta))
	return b, nil
}

// Run is one instruction: a jump is no longer.
func (isa) Run(code []byte, at arch.Addr, n int) ([]arch.Inst, error) {
	in, err := isa{}.Decode(code, at)
	switch {
	case err != nil:
		return nil, err
	case n > instLen:
		return nil, fmt.Errorf("%w: %d bytes to be displaced", arch.ErrUnsupported, n)
	case in.Kind == arch.KindTrap, in.Kind == arch.KindSyscall:
		return nil, fmt.Errorf("%w: a system call or trap would be displaced", arch.ErrUnsupported)
	case landingPad(code):
		return nil, fmt.Errorf("%w: a landing pad of indirect branches", arch.ErrUnsupported)
	}
	return []arch.Inst{in}, nil
}

// landingPad reports whether code starts with bti or paciasp, which indirect
// branches into guarded pages must find there.
func landingPad(code []byte) bool {
	w, err := word(code, 0)
	return err == nil && (w&^0xc0 == 0xd503241f || w&^0x40 == 0xd503233f)
}

func (isa) RelocateRun(b *arch.Buffer, code []byte, from arch.Addr, run []arch.Inst, before func(i int) error) (arch.Slot, error) {
	if len(run) != 1 {
		return arch.Slot{}, fmt.Errorf("%w: %d instructions", arch.ErrUnsupported, len(run))
	}
	if before == nil {
		return isa{}.Relocate(b, code, from)
	}
	start := len(b.Code)
	if err := before(0); err != nil {
		return arch.Slot{}, err
	}
	own := len(b.Code) - start
	slot, err := isa{}.Relocate(b, code, from)
	for i := range slot.Fixes { // they are from where Relocate began
		slot.Fixes[i].Off += own
	}
	return slot, err
}
