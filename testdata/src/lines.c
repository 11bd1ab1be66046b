/* lines many N K [wait]: N threads, all there at a time, call work K times each.
   lines shared K [wait]: a child with the same memory and the same thread pointer
   calls it K times while its parent does.
   lines alike K [wait]: a thread with its parent's thread pointer does.
   Prints "calls C", how often it was called. */
#define _GNU_SOURCE
#include "fixture.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

static long calls, rounds;
static pthread_barrier_t go;

PROBED void work(long i)
{
	__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
}

static void turn(void)
{
	for (long i = 0; i < rounds; i++)
		work(i);
}

static void *run(void *p)
{
	pthread_barrier_wait(&go);
	turn();
	pthread_barrier_wait(&go); /* nobody leaves its memory to another */
	return p;
}

static int many(long n)
{
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	pthread_barrier_init(&go, NULL, n);
	pthread_t *ids = calloc(n, sizeof *ids);
	for (long i = 0; i < n; i++)
		if (pthread_create(&ids[i], &small, run, NULL)) {
			perror("pthread_create");
			return 1;
		}
	for (long i = 0; i < n; i++)
		pthread_join(ids[i], NULL);
	free(ids);
	return 0;
}

/* beside is on a stack of its own, but for which it is its parent: it calls no
   libc. */
static int beside(void *p)
{
	turn();
	return 0;
}

static char stack[64 << 10] __attribute__((aligned(16)));

static int alike(void)
{
	static volatile pid_t there = 1;
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
	if (clone(beside, stack + sizeof stack, flags, NULL, NULL, NULL, &there) < 0) {
		perror("clone");
		return 1;
	}
	turn();
	while (there)
		usleep(1000);
	return 0;
}

static int shared(void)
{
	int child = clone(beside, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
	if (child < 0) {
		perror("clone");
		return 1;
	}
	turn();
	return waitpid(child, NULL, 0) != child;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	int many_ = argc > 1 && strcmp(argv[1], "many") == 0;
	rounds = arg(argc, argv, many_ ? 3 : 2, 1000);
	int alike_ = argc > 1 && strcmp(argv[1], "alike") == 0;
	int status = many_ ? many(arg(argc, argv, 2, 10)) : alike_ ? alike() : shared();
	printf("calls %ld\n", calls);
	return status;
}
