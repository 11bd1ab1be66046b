/* steady [T] [wait]: T (3) threads call work() all the time, but for a pause between
   'p' and 'r' on the standard input, at the beginning of which it prints "calls C": how
   often work() has been called so far. 't' in a pause has a thread send itself SIGTRAP,
   whose handler prints "trapped 1", and returns when the pause is over. At the end of the input it prints "wrong W": how
   often work() has given a wrong answer. */
#include "fixture.h"
#include <pthread.h>
#include <signal.h>

enum { most = 16 };
static long counts[most][8], wrongs[most], t;
static volatile int held, over;
static volatile int stands[most];

PROBED long work(long *count, long x)
{
	++*count;
	return x * 3 + 1;
}

static void *run(void *arg)
{
	long i = (long)arg;
	for (long n = 0; !over; n++) {
		while (held && !over) {
			__atomic_store_n(&stands[i], 1, __ATOMIC_SEQ_CST);
			usleep(200);
		}
		__atomic_store_n(&stands[i], 0, __ATOMIC_SEQ_CST);
		if (work(counts[i], n) != n * 3 + 1)
			wrongs[i]++;
		if (n % 64 == 63)
			usleep(300);
	}
	return NULL;
}

static void trapped(int signal)
{
	dprintf(1, "trapped 1\n");
	while (held)
		usleep(200);
}

static void *trap(void *unused)
{
	signal(SIGTRAP, trapped);
	raise(SIGTRAP);
	signal(SIGTRAP, SIG_DFL);
	return unused;
}

static void hold(void)
{
	long calls = 0;
	held = 1;
	for (long i = 0; i < t; i++)
		while (!__atomic_load_n(&stands[i], __ATOMIC_SEQ_CST))
			usleep(200);
	for (long i = 0; i < t; i++)
		calls += counts[i][0];
	printf("calls %ld\n", calls);
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	pthread_t id[most], other;
	long wrong = 0;
	int c;
	t = arg(argc, argv, 1, 3);
	for (long i = 0; i < t; i++)
		if (pthread_create(&id[i], NULL, run, (void *)i))
			return 1;
	while ((c = getchar()) != EOF) {
		if (c == 'p')
			hold();
		else if (c == 't') {
			if (pthread_create(&other, NULL, trap, NULL))
				return 1;
		} else if (c == 'r')
			for (long i = held = 0; i < t; i++)
				while (__atomic_load_n(&stands[i], __ATOMIC_SEQ_CST))
					usleep(200);
		fflush(stdout);
	}
	over = 1;
	for (long i = 0; i < t; i++) {
		pthread_join(id[i], NULL);
		wrong += wrongs[i];
	}
	printf("wrong %ld\n", wrong);
	return 0;
}
