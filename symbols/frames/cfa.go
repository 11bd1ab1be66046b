package frames

// Call frame instructions, as far as their operands have to be known
// (DWARF 5, section 6.4.2, and the extensions of GNU and AArch64).

// negateRA (DW_CFA_AARCH64_negate_ra_state) says that from here on the return address is
// signed, or not any more. What reads it strips the signature in any case; the library
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
	0x1c: {1}, 0x3f: {1}, // unassigned: so the library reads them
}

// unsigned puts no-operations in the place of what says that return addresses are signed.
// Behind an instruction that is not known nothing is changed.
func unsigned(code []byte) {
	each(code, func(at int, op byte, _ uint64) {
		if op == negateRA {
			code[at] = 0
		}
	})
}

// Bounds of what the library that executes the instructions has to keep: for each state
// that is remembered all registers that have been named.
const (
	maxRegister = 256
	maxStates   = 64
)

// modest reports whether a function's instructions are within the bounds, up to one that
// is not known: the library goes no further.
func modest(code []byte) bool {
	registers, depth, deepest := true, 0, 0
	each(code, func(_ int, op byte, operand uint64) {
		switch op {
		case 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11, 0x14, 0x15, 0x16: // what begins with a register
			registers = registers && operand < maxRegister
		case rememberState:
			depth++
			deepest = max(deepest, depth)
		case restoreState:
			depth--
		}
	})
	return registers && deepest <= maxStates
}

// DW_CFA_remember_state and DW_CFA_restore_state.
const (
	rememberState = 0x0a
	restoreState  = 0x0b
)

// each hands over the instructions, each with its first operand if that is a number, up to
// one that is not known.
func each(code []byte, yield func(at int, op byte, operand uint64)) {
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
		rest, operand := code[i+1:], uint64(0)
		for k, o := range list {
			n := uint64(max(o, 0))
			if o < 0 {
				if n, rest = uleb(rest); o == opULEB {
					if k == 0 {
						operand = n
					}
					n = 0
				}
			}
			rest = rest[min(n, uint64(len(rest))):]
		}
		yield(i, op, operand)
		i = len(code) - len(rest)
	}
}
