package symbols

// Call frame instructions, as far as their operands have to be known
// (DWARF 5, section 6.4.2, and the extensions of GNU and AArch64).

// negateRA (DW_CFA_AARCH64_negate_ra_state) says that from here on the return address is
// signed, or not any more. Whoever reads it strips the signature in any case; the library
// that reads call frame information does not know the instruction, and gives up.
const negateRA = 0x2d

// operand is what an instruction has behind its byte: so many bytes, or
const (
	opULEB  = -1
	opBlock = -2 // a length, and as many bytes
)

// operands are those of the instructions whose upper two bits are 0; a signed number is
// as long as an unsigned one.
var operands = map[byte][]int{
	0x00: nil, 0x01: {8}, 0x02: {1}, 0x03: {2}, 0x04: {4},
	0x05: {opULEB, opULEB}, 0x06: {opULEB}, 0x07: {opULEB}, 0x08: {opULEB}, 0x09: {opULEB, opULEB},
	0x0a: nil, 0x0b: nil, 0x0c: {opULEB, opULEB}, 0x0d: {opULEB}, 0x0e: {opULEB}, 0x0f: {opBlock},
	0x10: {opULEB, opBlock}, 0x11: {opULEB, opULEB}, 0x12: {opULEB, opULEB}, 0x13: {opULEB},
	0x14: {opULEB, opULEB}, 0x15: {opULEB, opULEB}, 0x16: {opULEB, opBlock},
	negateRA: nil, 0x2e: {opULEB}, 0x2f: {opULEB, opULEB},
}

// unsigned puts no-operations in the place of what says that return addresses are signed.
// Behind an instruction that is not known nothing is changed.
func unsigned(code []byte) {
	for i := 0; i < len(code); {
		op := code[i]
		list, known := operands[op]
		switch op >> 6 {
		case 1, 3: // advance, restore: the operand is in the byte
			list, known = nil, true
		case 2: // offset
			list, known = []int{opULEB}, true
		}
		if !known {
			return
		}
		if op == negateRA {
			code[i] = 0
		}
		rest := code[i+1:]
		for _, o := range list {
			n := uint64(max(o, 0))
			if o < 0 {
				if n, rest = uleb(rest); o == opULEB {
					n = 0
				}
			}
			rest = rest[min(n, uint64(len(rest))):]
		}
		i = len(code) - len(rest)
	}
}
