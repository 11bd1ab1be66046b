/* slots many N K [wait]: N threads, all there at a time, call work K times each.
   slots there N K [wait]: the same, and they are there before it waits.
   slots shared K [wait]: a child with the same memory and the same thread pointer
   calls it K times while its parent does.
   slots alike K [wait]: a thread with its parent's thread pointer does.
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
	pthread_barrier_wait(&go); /* no thread leaves its memory to another */
	return p;
}

/* many has n threads call work, as soon as all are there, and if there is a
   begin, that has been called. */
static int many(long n, void (*begin)(void))
{
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	pthread_barrier_init(&go, NULL, n + (begin != NULL));
	pthread_t *ids = calloc(n, sizeof *ids);
	for (long i = 0; i < n; i++)
		if (pthread_create(&ids[i], &small, run, NULL)) {
			perror("pthread_create");
			return 1;
		}
	if (begin) {
		begin();
		pthread_barrier_wait(&go);
		pthread_barrier_wait(&go);
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

static int count;
static char **words;

static void await(void)
{
	ready(&count, words);
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	int there = strcmp(how, "there") == 0, status;
	count = argc;
	words = argv;
	if (!there)
		await();
	int crowd = there || strcmp(how, "many") == 0;
	rounds = arg(count, argv, crowd ? 3 : 2, 1000);
	if (crowd)
		status = many(arg(count, argv, 2, 10), there ? await : NULL);
	else
		status = strcmp(how, "alike") == 0 ? alike() : shared();
	printf("calls %ld\n", calls);
	return status;
}
