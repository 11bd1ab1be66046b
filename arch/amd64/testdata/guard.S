# The SIGTRAP handler of guard.go: rdi signal, rsi siginfo, rdx ucontext.
# It keeps to registers that a function may change and uses no stack but for
# its return address, which leads to restorer. rax is 0 on entry, as the kernel
# leaves it, and is so again where the program's own handler is jumped to.

	.set	SI_CODE, 8		# in siginfo
	.set	UC_RIP, 168		# in ucontext
	.set	UC_EFLAGS, 176
	.set	UC_SIGMASK, 296
	.set	TF, 0x100

	.set	SI_KERNEL, 0x80		# int3
	.set	SI_USER, 0
	.set	TRAP_BRKPT, 1		# int1, or the step behind a system call
	.set	TRAP_TRACE, 2
	.set	TRAP_HWBKPT, 4

	.set	FIRST, 0		# in the header
	.set	OLD, 8
	.set	SWALLOW, 32
	.set	NOTE, 64
	.set	NOTE_MASK, 72
	.set	NOTE_SIGNAL, 80
	.set	NOTE_INFO, 88

	.set	SIGTRAP, 5
	.set	SYS_rt_sigaction, 13
	.set	SYS_rt_sigreturn, 15
	.set	SYS_getpid, 39
	.set	SYS_gettid, 186
	.set	SYS_rt_tgsigqueueinfo, 297

	.text
handler:
	movl	SI_CODE(%rsi), %eax
	cmpl	$SI_KERNEL, %eax
	jne	step

	# An int3: look for the site it stands at. A tracer that died after it
	# had moved the task on leaves it at the resume address, with the signal:
	# nothing is left to do, unless an int3 of the program's own is there.
	movq	UC_RIP(%rdx), %r11
	leaq	-1(%r11), %rcx
	movq	header+FIRST(%rip), %r8
chunk:
	testq	%r8, %r8
	jz	own
	movq	8(%r8), %r9		# entries left
	leaq	16(%r8), %r10
	movq	(%r8), %r8
entry:
	subq	$1, %r9
	jb	chunk
	addq	$16, %r10
	cmpq	%rcx, -16(%r10)
	je	found
	cmpq	%r11, -8(%r10)
	jne	entry
	cmpb	$0xcc, (%rcx)
	je	entry
	ret
found:
	movq	-8(%r10), %r9
	testq	%r9, %r9
	jz	own
	movq	%r9, UC_RIP(%rdx)
	ret

	# A step or a debug register that a dead tracer left behind.
step:
	cmpq	$0, header+SWALLOW(%rip)
	je	own
	cmpl	$TRAP_TRACE, %eax
	je	swallow
	cmpl	$TRAP_HWBKPT, %eax
	je	swallow
	cmpl	$TRAP_BRKPT, %eax
	jne	own
	movq	UC_RIP(%rdx), %rcx
	cmpb	$0xf1, (%rcx)		# some virtual CPUs leave rip on the int1
	je	own
	testl	$0xfff, %ecx		# it would be on this page
	jz	swallow
	cmpb	$0xf1, -1(%rcx)
	je	own
swallow:
	andl	$~TF, UC_EFLAGS(%rdx)
	cmpq	$0, header+NOTE(%rip)
	je	done
	movl	$SYS_gettid, %eax
	syscall
	cmpq	%rax, header+NOTE(%rip)
	jne	done

	# The tracer had this thread's signals blocked, and one in its hands: both
	# are given back.
back:
	movq	header+NOTE_MASK(%rip), %rcx
	movq	%rcx, UC_SIGMASK(%rdx)
	movl	%eax, %esi
	movl	header+NOTE_SIGNAL(%rip), %edx
	testl	%edx, %edx
	jz	done
	movl	$SYS_getpid, %eax
	syscall
	movl	%eax, %edi
	leaq	header+NOTE_INFO(%rip), %r10
	movl	$SYS_rt_tgsigqueueinfo, %eax
	syscall
	ret

	# The program's own trap; or a step's, for which the tracer had put in
	# the signal in its hands already: the kernel makes that a sent one.
own:
	cmpq	$0, header+NOTE(%rip)
	je	program
	cmpl	$SI_USER, SI_CODE(%rsi)
	jne	program
	movl	$SYS_gettid, %eax
	syscall
	cmpq	%rax, header+NOTE(%rip)
	je	back
	xorl	%eax, %eax
program:
	movq	header+OLD(%rip), %r11
	cmpq	$1, %r11
	ja	call
	jb	default
	testl	%eax, %eax		# ignored: if it was sent, not if it was raised
	jg	default
	ret
call:
	xorl	%eax, %eax
	jmp	*%r11

	# Die of it as if there were no handler: the same signal again, on its
	# way when this handler returns.
default:
	movq	%rsi, %r9		# r9 and r10 outlive system calls
	leaq	dfl(%rip), %rsi
	movl	$SIGTRAP, %edi
	xorl	%edx, %edx
	movl	$8, %r10d
	movl	$SYS_rt_sigaction, %eax
	syscall
	movl	$SYS_gettid, %eax
	syscall
	movl	%eax, %r8d
	movl	$SYS_getpid, %eax
	syscall
	movl	%eax, %edi
	movl	%r8d, %esi
	movl	$SIGTRAP, %edx
	movq	%r9, %r10
	movl	$SYS_rt_tgsigqueueinfo, %eax
	syscall
	testl	%eax, %eax
	jz	done
	int3				# refused: a trap while traps are blocked is death too
done:
	ret

# As libc writes it: unwinders know a signal frame by these very bytes.
restorer:
	movq	$SYS_rt_sigreturn, %rax
	syscall

	.balign	8
dfl:	.quad	0, 0, 0, 0		# struct kernel_sigaction: SIG_DFL

	.balign	16
header:
