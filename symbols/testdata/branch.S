# A conditional jump out of a function.
	.text
	.globl	_start, target
	.type	_start, @function
_start:
	cmp	$3, %edi
	jg	target
	ret
	.size	_start, .-_start
	.p2align 4
	.type	target, @function
target:
	ret
	.size	target, .-target
	.section .note.GNU-stack,"",@progbits
