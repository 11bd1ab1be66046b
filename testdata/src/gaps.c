/* gaps [T [MS]] [wait]: T (2) threads that see themselves being stopped. One
   spins on the clock and keeps the longest gap between two looks; the others
   sleep MS (100) ms at a time and keep by how much one woke too late. Behind
   "wait", commands on standard input, a line each, are answered by a line:

   g  prints "gap NS late NS", the longest so far, and starts anew
   c  calls each of the 10,000 functions target_0 to target_9999 once, prints "calls 10000"
   q  ends */
#define _GNU_SOURCE
#include "fixture.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define TARGETS 10000

asm(".altmacro\n"
    ".macro target n\n"
    ".globl target_\\n\n.type target_\\n, @function\n.p2align 4\n"
    "target_\\n: push %rbp\nmov %rsp, %rbp\nlea (%rdi,%rdi,2), %rax\npop %rbp\nret\n"
    ".size target_\\n, . - target_\\n\n"
    ".endm\n"
    ".text\n"
    ".set i, 0\n.rept 10000\ntarget %i\n.set i, i + 1\n.endr\n"
    ".noaltmacro\n");
extern char target_0[], target_1[];

static atomic_long gap, late;
static long period;

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void longest(atomic_long *max, long ns)
{
	long old = atomic_load(max);
	while (ns > old && !atomic_compare_exchange_weak(max, &old, ns))
		;
}

static void *spin(void *arg)
{
	for (long last = now();;) {
		long t = now();
		if (t - last > 1000)
			longest(&gap, t - last);
		last = t;
	}
	return NULL;
}

static void *doze(void *arg)
{
	for (long next = now() + (long)arg;;) {
		struct timespec t = {next / 1000000000, next % 1000000000};
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL))
			;
		long woke = now();
		longest(&late, woke - next);
		next = woke + period;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int waits = argc > 1 && strcmp(argv[argc - 1], "wait") == 0, args = argc - waits;
	long threads = arg(args, argv, 1, 2), sum = 0;
	pthread_t id;
	pthread_attr_t small;
	period = arg(args, argv, 2, 100) * 1000000;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	/* main is one of the threads; the sleepers do not all wake at once */
	if (pthread_create(&id, &small, spin, NULL))
		return 1;
	for (long i = 2; i < threads; i++)
		if (pthread_create(&id, &small, doze, (void *)(period * i / threads)))
			return 1;
	char line[16];
	printf("pid %d\n", (int)getpid());
	fflush(stdout);
	while (waits && fgets(line, sizeof line, stdin) && line[0] != 'q') {
		if (line[0] == 'g')
			printf("gap %ld late %ld\n", atomic_exchange(&gap, 0), atomic_exchange(&late, 0));
		for (long i = 0; line[0] == 'c' && i < TARGETS; i++)
			sum += ((long (*)(long))(target_0 + i * (target_1 - target_0)))(i);
		if (line[0] == 'c')
			printf("calls %d sum %ld\n", TARGETS, sum);
		fflush(stdout);
	}
	_exit(0);
}
