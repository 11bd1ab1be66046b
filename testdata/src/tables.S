/* Functions that jump by tables, never run: each begins with two pushes, four
   bytes that a jump of five would displace with what follows. The table of

     far       leads elsewhere in the function
     near      leads behind the first push, by distances from itself
     words     the same, by addresses
     intext    the same, by distances, in the middle of code
     computed  is none: the place is computed from the start of a block
     pointer   is none: it jumps to where it is told
     plain     is none: it does not jump */
	.macro	begin name
	.p2align 4
	.globl	\name
	.type	\name, %function
\name:	push	%rbx
1:	push	%r12
	.endm
	.macro	bytable name, table
	lea	\table(%rip), %rdx
	movslq	(%rdx,%rdi,4), %rax
	add	%rdx, %rax
	jmp	*%rax
2:	pop	%r12
	pop	%rbx
	ret
	.size	\name, . - \name
	.endm

	.text
	.globl	_start
_start:	hlt
	begin	far
	bytable	far, tfar
	.pushsection .rodata
	.p2align 2
tfar:	.long	2b - tfar, 2b + 2 - tfar
	.popsection

	begin	near
	bytable	near, tnear
	.pushsection .rodata
tnear:	.long	2b - tnear, 2b + 2 - tnear, 1b - tnear
	.popsection

	begin	words
	lea	twords(%rip), %rdx
	jmp	*(%rdx,%rdi,8)
2:	pop	%r12
	ret
	.size	words, . - words
	.pushsection .data.rel.ro, "aw"
	.p2align 3
twords:	.quad	2b, 1b
	.popsection

	begin	intext
	bytable	intext, tintext
tintext: .long	2b - tintext, 1b - tintext

	begin	computed
	lea	3f(%rip), %rax
	lea	(%rax,%rdi,4), %rax
	jmp	*%rax
3:	pop	%r12
	pop	%rbx
	ret
	.size	computed, . - computed

	begin	pointer
	pop	%r12
	pop	%rbx
	jmp	*%rdi
	.size	pointer, . - pointer

	begin	plain
	pop	%r12
	pop	%rbx
	ret
	.size	plain, . - plain
	.section .note.GNU-stack,"",%progbits
