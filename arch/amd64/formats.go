package amd64

// Formats of opcodes, one letter per opcode:
//
//	.  no operand bytes           m  ModRM
//	b  8-bit immediate            B  ModRM, 8-bit immediate
//	w  16-bit                     Z  ModRM, 16 or 32 bits
//	e  16 and 8 bits (enter)      D  ModRM, 32 bits
//	z  16 or 32 by operand size   t  ModRM, 8 bits if it is a test
//	v  16, 32 or 64               T  ModRM, 16 or 32 bits if it is a test
//	o  address (moffs)            x  ModRM, 16 bits with 66 or f2 (SSE4a)
//	j  8-bit branch               r  ModRM with mod taken for 3
//	J  32-bit branch              _  invalid in 64-bit mode
//	p  prefix or escape, read before the table is asked
const (
	formatsOne = "" +
		"mmmmbz__mmmmbz_p" + // 00
		"mmmmbz__mmmmbz__" + // 10
		"mmmmbzp_mmmmbzp_" + // 20
		"mmmmbzp_mmmmbzp_" + // 30
		"pppppppppppppppp" + // 40
		"................" + // 50
		"__pmppppzZbB...." + // 60
		"jjjjjjjjjjjjjjjj" + // 70
		"BZ_Bmmmmmmmmmmmm" + // 80
		".........._....." + // 90
		"oooo....bz......" + // a0
		"bbbbbbbbvvvvvvvv" + // b0
		"BBw.ppBZe.w..b_." + // c0
		"mmmm___.mmmmmmmm" + // d0
		"jjjjbbbbJJ_j...." + // e0
		"p.pp..tT......mm" //   f0

	formats0F = "" +
		"mmmm_....._._m.B" + // 00: the last is 3DNow!, its opcode behind ModRM
		"mmmmmmmmmmmmmmmm" + // 10
		"rrrr____mmmmmmmm" + // 20
		"......_.p_p_____" + // 30
		"mmmmmmmmmmmmmmmm" + // 40
		"mmmmmmmmmmmmmmmm" + // 50
		"mmmmmmmmmmmmmmmm" + // 60
		"BBBBmmm.xm__mmmm" + // 70
		"JJJJJJJJJJJJJJJJ" + // 80
		"mmmmmmmmmmmmmmmm" + // 90
		"...mBmmm...mBmmm" + // a0: a6 and a7 are VIA's
		"mmmmmmmmmmBmmmmm" + // b0
		"mmBmBBBm........" + // c0
		"mmmmmmmmmmmmmmmm" + // d0
		"mmmmmmmmmmmmmmmm" + // e0
		"mmmmmmmmmmmmmmmm" //   f0
)
