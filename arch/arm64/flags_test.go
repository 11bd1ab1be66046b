package arm64

import "testing"

// TestFlagsLive has instructions as words from the assembler.
func TestFlagsLive(t *testing.T) {
	const reads = 0xd53b4200 // mrs x0, nzcv
	for text, w := range map[string]uint32{
		"b.eq .": 0x54000000, "adc x0, x1, x2": 0x9a020020, "sbcs x0, x1, x2": 0xfa020020, "ccmp x0, #1, #2, eq": 0xfa410802,
		"ccmn x0, x1, #2, eq": 0xba410002, "csel x0, x1, x2, eq": 0x9a820020, "cset x0, ne": 0x9a9f07e0, "csneg x0, x1, x2, lt": 0xda82b420,
		"fcsel d0, d1, d2, eq": 0x1e620c20, "fccmp d0, d1, #3, eq": 0x1e610403, "mrs x0, nzcv": reads,
	} {
		if !ISA.FlagsLive(bytesOf(0xa90107e0, w)) { // stp x0, x1, [sp, #16] before it
			t.Errorf("%s does not read them", text)
		}
	}
	for text, w := range map[string]uint32{
		"adds x0, x1, #1": 0xb1000420, "cmp x0, #1": 0xf100041f, "subs x0, x1, x2": 0xeb020020, "cmp w0, w1, uxtb": 0x6b21001f,
		"ands x0, x1, #1": 0xf2400020, "tst x0, x1": 0xea01001f, "bics x0, x1, x2": 0xea220020, "fcmp d0, d1": 0x1e612000,
		"fcmp d0, #0.0": 0x1e602008, "msr nzcv, x0": 0xd51b4200, "bl .": 0x94000000, "ret": 0xd65f03c0, "b .": 0x14000000,
	} {
		if ISA.FlagsLive(bytesOf(w, reads)) {
			t.Errorf("%s does not set them, or goes on", text)
		}
	}
	for text, w := range map[string]uint32{
		"add x0, x1, x2": 0x8b020020, "fmov d0, #1.0": 0x1e6e1000, "fadd d0, d1, d2": 0x1e622820, "mul x0, x1, x2": 0x9b027c20,
		"udiv x0, x1, x2": 0x9ac20820, "rbit x0, x1": 0xdac00020, "ldadd x0, x1, [x2]": 0xf8200041, "nop": 0xd503201f,
	} {
		if !ISA.FlagsLive(bytesOf(w, reads)) || ISA.FlagsLive(bytesOf(w)) {
			t.Errorf("%s does something with them", text)
		}
	}
}
