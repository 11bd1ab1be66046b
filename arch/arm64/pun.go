package arm64

import "github.com/ptracer/ptracer/arch"

// Puns: a jump is one instruction, and needs none.
func (isa) Puns([]byte, arch.Addr, int) (lo, hi arch.Addr, ok bool) { return 0, 0, false }

// FarJump: what would lead there is not planted.
func (isa) FarJump(arch.Addr) []byte { return nil }
