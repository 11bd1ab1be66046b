/* A function with a branch, whose ways come together, and a loop. */
	.text
	.globl main, flow
	.type flow, @function
flow:
place_entry:
	test %edi, %edi
	je 1f
place_left:
	nop
	jmp 2f
1:
place_right:
	nop
2:
place_join:
	nop
place_head:
	nop
place_body:
	dec %edi
	jg place_head
place_end:
	ret
	.size flow, . - flow
	.type main, @function
main:
	xor %edi, %edi
	call flow
	xor %eax, %eax
	ret
	.size main, . - main
	.section .note.GNU-stack, "", @progbits
