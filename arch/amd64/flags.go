package amd64

import "github.com/ptracer/ptracer/arch"

// FlagsLive treats instructions that it does not know as ones that do not set the flags.
func (isa) FlagsLive(code []byte) bool {
	for len(code) > 0 {
		in, err := parse(code)
		switch {
		case err != nil, in.setsFlags():
			return false
		case in.readsFlags():
			return true
		case in.kind(code) != arch.KindOther && in.kind(code) != arch.KindNop:
			return false
		}
		code = code[in.len:]
	}
	return false
}

// readsFlags reports whether an instruction depends on an arithmetic flag: it adds or rotates with
// carry, tests a condition, or stores all flags.
func (in *inst) readsFlags() bool {
	if in.vector {
		return false
	}
	withCarry := in.reg() == 2 || in.reg() == 3
	switch {
	case in.table == map0F:
		return in.op>>4 == 0x4 || in.op>>4 == 0x8 || in.op>>4 == 0x9 // cmov, j, set
	case in.table == map0F38:
		return in.op == 0xf6 && (in.opsize || in.rep == 0xf3) // adcx, adox
	case in.table != mapOne:
		return false
	case in.op>>4 == 0x7, in.op == 0xe0, in.op == 0xe1: // j, loopne, loope
		return true
	case in.op == 0x9c, in.op == 0x9f, in.op == 0xf5: // pushf, lahf, cmc
		return true
	case in.op >= 0x10 && in.op < 0x20 && in.op&7 < 6: // adc, sbb
		return true
	case in.op >= 0x80 && in.op <= 0x83, in.op == 0xc0, in.op == 0xc1, in.op >= 0xd0 && in.op <= 0xd3:
		return withCarry
	}
	return false
}

// setsFlags reports whether an instruction sets all arithmetic flags, or leaves those that it does
// not set undefined.
func (in *inst) setsFlags() bool {
	switch {
	case in.vector, in.readsFlags():
		return false
	case in.table == map0F:
		return in.op == 0xaf || in.op == 0xc0 || in.op == 0xc1 || in.op == 0xb0 || in.op == 0xb1 || in.op == 0x2e || in.op == 0x2f // imul, xadd, cmpxchg, comis
	case in.table != mapOne:
		return false
	case in.op < 0x40:
		return in.op&7 < 6 // add, or, and, sub, xor, cmp
	case in.op >= 0x80 && in.op <= 0x85, in.op == 0xa8, in.op == 0xa9, in.op == 0x69, in.op == 0x6b, in.op == 0x9d, in.op == 0x9e: // the same, test, imul, popf, sahf
		return true
	case in.op == 0xf6, in.op == 0xf7: // test, neg, mul, div; not leaves them
		return in.reg() != 2
	}
	return false
}
