/* What the programs of package truth share that are written in C, C++ and assembly: "truth-X [ROUNDS [SEED [THREADS]]]
   [wait]" makes calls of five functions, which MIX, SMALL, NAME, FACT and SPIN name, and prints each for itself:

     call FUNCTION TID INNER OUTER RESULT ARG0..ARG5|TEXT|TEXT OF RESULT

   Numbers are hexadecimal, those of narrow types extended as C does. INNER and OUTER are nanoseconds that a part of the
   call took, and what the call took with something around it. The programs in Go and Rust print the same. */
#ifndef TRUTH_H
#define TRUTH_H
#include "fixture.h"
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef MIX
#define MIX mix
#define SMALL small
#define NAME name
#define FACT fact
#define SPIN spin
uint64_t mix(uint64_t a, int64_t b, int c, const char *text, uint64_t e, void *f);
int small(int a, short b);
const char *name(long i);
long fact(long n);
long spin(long ns);
#endif

/* UNIT is the least that SPIN is asked for. */
#ifdef ASSEMBLY
#define UNIT 3
#else
#define UNIT 500
#endif

struct call {
	const char *function, *text, *result;
	uint64_t inner, outer, ret, args[6];
};

struct log {
	struct call *calls;
	long index, n, tid;
	uint64_t inner; /* of the call that ended last */
};

static __thread struct log *mine;
static pthread_barrier_t all; /* threads: each begins when all are there */
static long rounds;
static uint64_t seed;

static const char *const words[] = {"alpha", "beta", "gamma delta", "", "\xce\xa9mega", "q\"uote", "eta"};

static inline uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* next is a xorshift generator, the same in all languages. */
static inline uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void note(const char *function, uint64_t began, uint64_t ret, const char *result,
		 uint64_t a0, uint64_t a1, uint64_t a2, const char *a3, uint64_t a4, uint64_t a5)
{
	struct call *c = &mine->calls[mine->n++];
	c->outer = now() - began;
	c->inner = mine->inner;
	mine->inner = 0;
	c->function = function;
	c->text = a3 ? a3 : "";
	c->result = result ? result : "";
	c->ret = ret;
	c->args[0] = a0, c->args[1] = a1, c->args[2] = a2;
	c->args[3] = (uint64_t)(uintptr_t)a3, c->args[4] = a4, c->args[5] = a5;
}

/* again calls FACT, which calls itself through again, and notes it. In assembly it calls itself directly: the calls
   inside are noted from what must have been. */
static long again(long n)
{
	uint64_t t = now();
	long r = FACT(n);
#ifdef ASSEMBLY
	for (long k = 1, f = 1; k < n; k++, f *= k)
		note("fact", t, f, NULL, k, 0, 0, NULL, 0, 0);
#endif
	note("fact", t, r, NULL, n, 0, 0, NULL, 0, 0);
	return r;
}

static void round_(long i, uint64_t *s)
{
	uint64_t a = next(s), e = (1ull << i * 7 % 64) - (i & 1), t, r;
	int64_t b = (int64_t)next(s) >> i % 60;
	int c = (int)next(s);
	const char *text = words[i % 7], *named;

	t = now();
	r = MIX(a, b, c, text, e, i % 3 ? s : NULL);
	note("mix", t, r, NULL, a, b, (int64_t)c, text, e, i % 3 ? (uint64_t)(uintptr_t)s : 0);
	t = now();
	r = (int64_t)SMALL(c, (short)b);
	note("small", t, r, NULL, (int64_t)c, (int64_t)(short)b, 0, NULL, 0, 0);
	t = now();
	named = NAME(i);
	note("name", t, (uint64_t)(uintptr_t)named, named, i, 0, 0, NULL, 0, 0);
	again(1 + i % 5);
	t = now();
	r = SPIN(UNIT << i % 6);
	note("spin", t, r, NULL, UNIT << i % 6, 0, 0, NULL, 0, 0);
}

static void *work(void *p)
{
	mine = (struct log *)p;
	mine->tid = syscall(SYS_gettid);
	pthread_barrier_wait(&all);
	uint64_t s = seed + mine->index * 0x9e3779b97f4a7c15u;
	for (long i = 0; i < rounds; i++)
		round_(i, &s);
	return NULL;
}

static int truth(int argc, char **argv)
{
	char c;
	int waits = argc > 1 && strcmp(argv[argc - 1], "wait") == 0;
	argc -= waits;
	rounds = arg(argc, argv, 1, 8);
	seed = arg(argc, argv, 2, 1) * 2 + 1;
	long threads = arg(argc, argv, 3, 1);
	struct log *logs = (struct log *)calloc(threads, sizeof *logs);
	pthread_t *ids = (pthread_t *)calloc(threads, sizeof *ids);
	pthread_barrier_init(&all, NULL, threads);
	for (long i = 0; i < threads; i++) {
		logs[i].calls = (struct call *)calloc(rounds, 9 * sizeof *logs[i].calls);
		logs[i].index = i;
		if (i > 0 && pthread_create(&ids[i], NULL, work, &logs[i])) {
			perror("pthread_create");
			return 1;
		}
	}
	printf("pid %d\n", (int)getpid()); /* not ready: who attaches finds all threads */
	fflush(stdout);
	while (waits && read(0, &c, 1) < 0)
		;
	work(&logs[0]);
	for (long i = 1; i < threads; i++)
		pthread_join(ids[i], NULL);
	for (long i = 0; i < threads; i++)
		for (struct call *c = logs[i].calls; c < logs[i].calls + logs[i].n; c++) {
			printf("call %s %lx %lx %lx %lx", c->function, logs[i].tid, c->inner, c->outer, c->ret);
			for (int k = 0; k < 6; k++)
				printf(" %lx", c->args[k]);
			printf("|%s|%s\n", c->text, c->result);
		}
	return 0;
}
#endif
