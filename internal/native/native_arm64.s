#include "textflag.h"

// func enter(addr uintptr)
TEXT ·enter(SB), NOSPLIT, $16-8
	MOVD addr+0(FP), R16
	CALL (R16)
	RET

// func flush(addr, n uintptr)
TEXT ·flush(SB), NOSPLIT, $0-16
	MOVD addr+0(FP), R0
	MOVD n+8(FP), R1
	ADD  R0, R1
	BIC  $15, R0
	MOVD R0, R2
data:
	CMP  R1, R2
	BHS  clean
	WORD $0xd50b7b22 // dc cvau, x2
	ADD  $16, R2
	B    data
clean:
	WORD $0xd5033b9f // dsb ish
	MOVD R0, R2
code:
	CMP  R1, R2
	BHS  done
	WORD $0xd50b7522 // ic ivau, x2
	ADD  $16, R2
	B    code
done:
	WORD $0xd5033b9f // dsb ish
	WORD $0xd5033fdf // isb
	RET
