package amd64

import "github.com/ptracer/ptracer/arch"

// Exclusive always returns false: x86 has locked instructions instead of sequences.
func (isa) Exclusive(_ []byte, _, _ arch.Addr) (arch.Addr, bool) { return 0, false }
