// The signal handler that lets a tracee outlive its tracer (arch.GuardCode).
//
// It is entered for SIGTRAP with x0 = signal, x1 = siginfo, x2 = ucontext, and
// uses only registers that a C function may. guard.go has the bytes of this
// file; guard_test.go assembles it and compares.
//
// brk leaves the PC on itself, and so does a hardware breakpoint. A trap of
// ours goes on at its entry's resume address. Any other goes to the handler
// the program had, with all registers that matter as they came.

	.equ	SIGTRAP, 5
	.equ	TRAP_BRKPT, 1
	.equ	TRAP_TRACE, 2
	.equ	TRAP_HWBKPT, 4

	.equ	si_code, 8
	.equ	uc_pc, 176 + 8 + 8*32	// sigcontext, behind fault_address, x0-x30, sp

	.equ	guard_first, 0
	.equ	guard_old, 8
	.equ	guard_swallow, 32
	.equ	chunk_next, 0
	.equ	chunk_count, 8
	.equ	chunk_head, 16

	.equ	nr_tgkill, 131
	.equ	nr_rt_sigaction, 134
	.equ	nr_rt_sigreturn, 139
	.equ	nr_getpid, 172
	.equ	nr_gettid, 178

	.text
handler:
	ldr	w3, [x1, #si_code]
	adr	x4, header
	cmp	w3, #TRAP_BRKPT
	b.eq	lookup
	ldr	x5, [x4, #guard_swallow]
	cbz	x5, foreign
	cmp	w3, #TRAP_TRACE
	b.eq	done
	cmp	w3, #TRAP_HWBKPT
	b.ne	foreign

lookup:					// x6 = PC, x7 = chunk, x8 = entries left, x9 = entry
	ldr	x6, [x2, #uc_pc]
	ldr	x7, [x4, #guard_first]
chunk:	cbz	x7, missing
	ldr	x8, [x7, #chunk_count]
	add	x9, x7, #chunk_head
entry:	cbz	x8, next
	sub	x8, x8, #1
	ldp	x10, x11, [x9], #16
	cmp	x11, x6			// moved on already, by a tracer that then died
	b.eq	done
	cmp	x10, x6
	b.ne	entry
	str	x11, [x2, #uc_pc]
done:	ret
next:	ldr	x7, [x7, #chunk_next]
	b	chunk

missing:				// a watchpoint of ours has no entry
	cmp	w3, #TRAP_HWBKPT
	b.eq	done

foreign:
	ldr	x16, [x4, #guard_old]
	cmp	x16, #1			// SIG_DFL 0, SIG_IGN 1
	b.lo	default
	b.eq	ignore
	br	x16
ignore:	cmp	w3, #0			// a fault kills even if it is ignored
	b.le	done

default:				// rt_sigaction(SIGTRAP, &{SIG_DFL}, NULL, 8)
	mov	w12, w3
	stp	xzr, xzr, [sp, #-32]!
	stp	xzr, xzr, [sp, #16]
	mov	x0, #SIGTRAP
	mov	x1, sp
	mov	x2, #0
	mov	x3, #8
	mov	x8, #nr_rt_sigaction
	svc	#0
	add	sp, sp, #32
	cmp	w12, #0			// a fault comes again and kills
	b.gt	done
	mov	x8, #nr_getpid		// a sent signal must be sent again
	svc	#0
	mov	x9, x0
	mov	x8, #nr_gettid
	svc	#0
	mov	x1, x0
	mov	x0, x9
	mov	x2, #SIGTRAP
	mov	x8, #nr_tgkill
	svc	#0
	ret				// it is delivered when the mask is back

restorer:				// as the kernel's own, which unwinders know
	mov	x8, #nr_rt_sigreturn
	svc	#0

	.balign	16
header:
