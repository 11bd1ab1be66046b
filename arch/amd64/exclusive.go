package amd64

import "github.com/ptracer/ptracer/arch"

// Exclusive is always no: x86 has locked instructions, not sequences.
func (isa) Exclusive(_ []byte, _, _ arch.Addr) (arch.Addr, bool) { return 0, false }
