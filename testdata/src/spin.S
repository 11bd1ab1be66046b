/* Spins for ever without a system call, a stack or memory: what is in the
   registers is known. The counter is rbx, x19; the loop starts at "spin". */
	.text
	.globl	_start, spin
	.type	_start, %function
	.type	spin, %function
_start:
#if defined(__x86_64__)
	xor	%ebx, %ebx
spin:
	inc	%rbx
	nop
	jmp	spin
#elif defined(__aarch64__)
	mov	x19, #0
spin:
	add	x19, x19, #1
	nop
	b	spin
#endif
	.size	spin, . - spin
	.size	_start, . - _start
	.section .note.GNU-stack,"",%progbits
