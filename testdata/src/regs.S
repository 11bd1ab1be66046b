/* regs: three times, known values in all general registers and the flags when it comes to "marked", to "middle" in it
   and to its exit. Register number N, as instructions have it, holds 0xa1b2c3d4e5f60700 + N, but for the stack pointer,
   which was "top" before the call, and arm64's x30. Between middle and the exit the registers of argument and result
   change: a handler that runs a few bytes away from its place would show. It waits for nothing and exits with 0. */
	.text
	.globl	_start, marked, middle, changed, returned
	.type	_start, %function
	.type	marked, %function
	.type	middle, %function
#define V 0xa1b2c3d4e5f60700
#define CHANGED 0x0f1e2d3c4b5a6978
#if defined(__x86_64__)
_start:
	movl	$3, rounds(%rip)
1:	lea	top(%rip), %rsp
	push	$0x8d5			/* CF PF AF ZF SF OF, and no DF */
	popf
	movabs	$V+0, %rax
	movabs	$V+1, %rcx
	movabs	$V+2, %rdx
	movabs	$V+3, %rbx
	movabs	$V+5, %rbp
	movabs	$V+6, %rsi
	movabs	$V+7, %rdi
	movabs	$V+8, %r8
	movabs	$V+9, %r9
	movabs	$V+10, %r10
	movabs	$V+11, %r11
	movabs	$V+12, %r12
	movabs	$V+13, %r13
	movabs	$V+14, %r14
	movabs	$V+15, %r15
	call	marked
returned:
	decl	rounds(%rip)
	jnz	1b
	mov	$60, %eax
	xor	%edi, %edi
	syscall

marked:
	.byte	0x0f, 0x1f, 0x44, 0, 0	/* a nop of five bytes */
middle:
	mov	%r8, %r8
	mov	%r9, %r9
	movabs	$CHANGED, %rax
	movabs	$CHANGED+1, %rdi
changed:
	ret
	.size	marked, . - marked
#elif defined(__aarch64__)
	.macro	set n
	ldr	x\n, =V+\n
	.endm
_start:
	adrp	x0, rounds
	mov	w1, #3
	str	w1, [x0, :lo12:rounds]
1:	adrp	x0, top
	add	x0, x0, :lo12:top
	mov	sp, x0
	mov	x0, #0xf0000000		/* N Z C V */
	msr	nzcv, x0
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
	set	\n
	.endr
	bl	marked
returned:
	adrp	x0, rounds
	ldr	w1, [x0, :lo12:rounds]
	subs	w1, w1, #1
	str	w1, [x0, :lo12:rounds]
	b.ne	1b
	mov	x8, #93
	mov	x0, #0
	svc	#0

marked:
	nop
middle:
	mov	x8, x8
	mov	x9, x9
	ldr	x0, =CHANGED
	ldr	x1, =CHANGED+1
changed:
	ret
	.size	marked, . - marked
	.ltorg
#endif
	.size	_start, . - _start
	.data
	.balign 8
rounds:	.long	0
	.bss
	.balign 16
	.skip	65536
	.globl	top
top:	.skip	16
	.section .note.GNU-stack,"",%progbits
