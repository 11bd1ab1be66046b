/* forbids [N [HOW]] [wait]: calls work N times (1000) in a state in which code of others
   may fault, and prints "calls N". HOW: early or late: the counter of time forbidden,
   before it waits or behind; zero or bad: the thread pointer is 0, or leads nowhere;
   child: in a child that begins with the thread pointer 0. amd64. */
#define _GNU_SOURCE
#include "fixture.h"
#include <asm/prctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile long sum;

__attribute__((noipa, optimize("no-stack-protector"))) void work(long i)
{
	sum += i;
}

/* The number is a constant before the call, as in libraries. */
#define CALL(nr, a, b) ({ long r_; __asm__ volatile("mov %1, %%eax\n\tsyscall" : "=a"(r_) : "i"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory"); r_; })

__attribute__((noipa, optimize("no-stack-protector"))) static void without(unsigned long fs, long n)
{
	unsigned long old = 0;

	CALL(SYS_arch_prctl, ARCH_GET_FS, &old);
	CALL(SYS_arch_prctl, ARCH_SET_FS, fs);
	for (long i = 0; i < n; i++)
		work(i);
	CALL(SYS_arch_prctl, ARCH_SET_FS, old);
}

static int child(long n)
{
	int status = 0;
	long pid = syscall(SYS_clone, CLONE_SETTLS | SIGCHLD, 0L, 0L, 0L, 0L);

	if (pid == 0) {
		for (long i = 0; i < n; i++)
			work(i);
		CALL(SYS_exit_group, 7, 0);
	}
	waitpid(pid, &status, 0);
	return status != 7 << 8;
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[2] : "late";
	int failed = 0;

	if (strcmp(how, "early") == 0)
		prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 1000);
	if (strcmp(how, "zero") == 0)
		without(0, n);
	else if (strcmp(how, "bad") == 0)
		without(0x12345000, n);
	else if (strcmp(how, "child") == 0)
		failed = child(n);
	else {
		if (strcmp(how, "late") == 0)
			prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
		for (long i = 0; i < n; i++)
			work(i);
		prctl(PR_SET_TSC, PR_TSC_ENABLE);
	}
	printf("calls %ld\n", n);
	return failed;
}
