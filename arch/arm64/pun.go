package arm64

import "github.com/ptracer/ptracer/arch"

// Puns returns none: a jump is one instruction.
func (isa) Puns([]byte, arch.Addr, int) (lo, hi arch.Addr, ok bool) { return 0, 0, false }

// FarJump returns nil: without puns it is not used.
func (isa) FarJump(arch.Addr) []byte { return nil }
