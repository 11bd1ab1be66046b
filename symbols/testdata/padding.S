# Traps between functions, and traps that are none's padding.
	.macro function name
	.balign 32, 0xcc
	.globl \name
	.type \name, @function
\name:
	.endm

	.text
	function _start
	ret
	.size _start, . - _start

	function room
	mov %edi, %eax
	ret
	.size room, . - room

	function called
	call room
	.size called, . - called

	function branch
	test %edi, %edi
	je 1f
	ret
1:	int3
	int3
	.size branch, . - branch

	function inside
	jmp 1f
	.fill 10, 1, 0xcc
1:	ret
	.fill 3, 1, 0xcc
	nop
	.size inside, . - inside

	function last
	ud2
	.size last, . - last

	function end
	ret
	.size end, . - end
	.section .note.GNU-stack,"",@progbits
