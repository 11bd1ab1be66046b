/* The functions of truthasm.c. What compilers seldom make is in them: an entry that is a jump (mix), a nop (small), an
   exit behind a call (fact), one that is a conditional jump to another function and mostly stays (spin). */
	.macro	begin name
	.p2align 4
	.globl	\name
	.type	\name, %function
\name:
	.endm
	.macro	end name
	.size	\name, . - \name
	.endm

	.text
#if defined(__x86_64__)
	begin	mix
	jmp	1f
	ud2
1:	lea	(%rdi,%rdi,2), %rax
	add	%rsi, %rax
	test	$1, %dl
	jz	2f
	xor	%r8, %rax
	ret
2:	xor	%ax, %ax
	ret
	end	mix

	begin	small
	nop
	mov	%edi, %eax
	movswl	%si, %esi
	sar	$4, %eax
	sub	%esi, %eax
	ret
	end	small

	begin	name
	and	$3, %edi
	lea	names(%rip), %rax
	lea	(%rax,%rdi,8), %rax
	ret
	end	name

	begin	fact
	mov	$1, %eax
	cmp	$2, %rdi
	jl	1f
	push	%rdi
	dec	%rdi
	call	fact
	pop	%rdi
	imul	%rdi, %rax
1:	ret
	end	fact

	begin	spin
	mov	%rdi, %rax
1:	dec	%rdi
	jz	spun
	jmp	1b
	end	spin

	begin	spun
	lea	(%rax,%rax,4), %rax
	ret
	end	spun
#elif defined(__aarch64__)
	begin	mix
	b	1f
	udf	#0
1:	add	x9, x0, x0, lsl #1
	add	x9, x9, x1
	tbz	w2, #0, 2f
	eor	x0, x9, x4
	ret
2:	and	x0, x9, #~0xffff
	ret
	end	mix

	begin	small
	nop
	sxth	w1, w1
	asr	w0, w0, #4
	sub	w0, w0, w1
	ret
	end	small

	begin	name
	and	x1, x0, #3
	adrp	x0, names
	add	x0, x0, :lo12:names
	add	x0, x0, x1, lsl #3
	ret
	end	name

	begin	fact
	cmp	x0, #2
	b.lt	1f
	stp	x29, x30, [sp, #-32]!
	mov	x29, sp
	str	x0, [sp, #16]
	sub	x0, x0, #1
	bl	fact
	ldr	x1, [sp, #16]
	mul	x0, x0, x1
	ldp	x29, x30, [sp], #32
	ret
1:	mov	x0, #1
	ret
	end	fact

	begin	spin
	mov	x1, x0
1:	subs	x0, x0, #1
	b.eq	spun
	b	1b
	end	spin

	begin	spun
	add	x0, x1, x1, lsl #2
	ret
	end	spun
#endif
	.section .rodata
names:	.asciz	"north"
	.balign 8
	.asciz	"east"
	.balign 8
	.asciz	"south"
	.balign 8
	.asciz	"west"
	.section .note.GNU-stack,"",%progbits
