/* calls [T [N]] [wait]: T (1) threads each call, N (1000) times: step with a number, a string and a pointer; fact, which
   calls itself; and leaf, from one and from two. Prints "calls C", "sum S" of what step returned and "last L", what leaf saw. */
#include "fixture.h"
#include <pthread.h>

static long rounds;
static const char *const names[] = {"alpha", "beta", "gamma", "delta", NULL};

/* step returns three times n, or -1 every tenth time. */
PROBED long step(long n, const char *text, int small)
{
	return n % 10 == 9 ? -1 : 3 * n;
}

PROBED long fact(long n);
static long (*volatile again)(long) = fact; /* not made a loop */

PROBED long fact(long n)
{
	return n < 2 ? 1 : n * again(n - 1);
}

PROBED long leaf(long n)
{
	return n + 1;
}

PROBED long one(long n)
{
	return leaf(n) + 1;
}

PROBED long two(long n)
{
	return leaf(n) + one(n);
}

struct sums {
	long calls, sum, last, pad[5];
};

static void *run(void *p)
{
	struct sums *s = p;
	for (long i = 0; i < rounds; i++) {
		long r = step(i * 7 % 1000, names[i % 5], -(int)(i % 3));
		s->sum += r;
		s->calls++;
		fact(i % 6);
		s->last = i % 3 ? one(i) : two(i);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long t = arg(argc, argv, 1, 1);
	rounds = arg(argc, argv, 2, 1000);
	pthread_t *id = calloc(t, sizeof *id);
	struct sums *s = calloc(t, sizeof *s), all = {0};
	for (long i = 0; i < t; i++)
		if (pthread_create(&id[i], NULL, run, s + i)) {
			perror("pthread_create");
			return 1;
		}
	for (long i = 0; i < t; i++) {
		pthread_join(id[i], NULL);
		all.calls += s[i].calls;
		all.sum += s[i].sum;
		all.last = s[i].last;
	}
	printf("calls %ld\nsum %ld\nlast %ld\n", all.calls, all.sum, all.last);
	return 0;
}
