# What looks like Go's stack check, in a program that is not Go's.
	.text
	.globl	_start, f
	.type	_start, @function
_start:
	call	f
	hlt
	.size	_start, .-_start
	.type	f, @function
f:
	cmp	16(%r14), %rsp
	jbe	1f
	push	%rbp
	pop	%rbp
	ret
1:	call	_start
	jmp	f
	.size	f, .-f
