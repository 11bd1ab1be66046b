/* faulty [N [WHERE]] [wait]: N (100) times calls touch, whose first instruction (WHERE 0), or second (1), reads a page
   that can't be read at first: the SIGSEGV handler lets it, and takes it away again every second time. Prints "calls C", "faults F" and "wrong W", how often the
   handler was shown another place than touch. */
#define _GNU_SOURCE /* REG_RIP */
#include "fixture.h"
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

long touch(long *p), second(long *p);
__asm__(".text\n.p2align 4\n.globl touch\n.type touch, %function\ntouch:\n"
#ifdef __x86_64__
	"	mov (%rdi), %rax\n	add $1, %rax\n	ret\n"
#else
	"	ldr x0, [x0]\n	add x0, x0, #1\n	ret\n"
#endif
	".size touch, .-touch\n"
	".p2align 4\n.globl second\n.type second, %function\nsecond:\n"
#ifdef __x86_64__
	"	push %rbx\n	mov (%rdi), %rax\n	add $1, %rax\n	pop %rbx\n	ret\n"
#else
	"	nop\n	ldr x0, [x0]\n	add x0, x0, #1\n	ret\n"
#endif
	".size second, .-second\n");

static volatile long faults, wrong;
static long *page;
static unsigned long place;

static void on_fault(int sig, siginfo_t *info, void *p)
{
	ucontext_t *u = p;
#ifdef __x86_64__
	unsigned long pc = u->uc_mcontext.gregs[REG_RIP], a0 = u->uc_mcontext.gregs[REG_RDI];
#else
	unsigned long pc = u->uc_mcontext.pc, a0 = u->uc_mcontext.regs[0];
#endif
	faults++;
	wrong += pc != place || info->si_addr != page || a0 != (unsigned long)page;
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

int main(int argc, char **argv)
{
	struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGSEGV, &a, NULL);
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 100), calls = 0, where = arg(argc, argv, 2, 0);
	long (*f)(long *) = where ? second : touch;
#ifdef __x86_64__
	place = (unsigned long)f + where;
#else
	place = (unsigned long)f + 4 * where;
#endif
	for (long i = 0; i < n; i++) {
		if (i % 2 == 0)
			mprotect(page, 4096, PROT_NONE);
		calls += f(page);
	}
	printf("calls %ld\nfaults %ld\nwrong %ld\n", calls, faults, wrong);
	return 0;
}
