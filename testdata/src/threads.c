/* threads [T [N [USEC]]] [wait]: T (4) threads call the same function N (1000)
   times each, sleeping USEC (0) after each 1000 calls; prints "calls C", what the function itself counted. */
#include "fixture.h"
#include <pthread.h>

static long rounds, pause_us;

PROBED long work(long *count)
{
	return ++*count;
}

static void *run(void *count)
{
	for (long i = 0; i < rounds; i++) {
		work(count);
		if (pause_us && i % 1000 == 999)
			usleep(pause_us);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long t = arg(argc, argv, 1, 4), calls = 0;
	rounds = arg(argc, argv, 2, 1000);
	pause_us = arg(argc, argv, 3, 0);
	pthread_t *id = calloc(t, sizeof *id);
	/* a cache line a thread, so that the count is not what costs */
	long (*count)[8] = calloc(t, sizeof *count);
	for (long i = 0; i < t; i++)
		if (pthread_create(&id[i], NULL, run, count[i])) {
			perror("pthread_create");
			return 1;
		}
	for (long i = 0; i < t; i++) {
		pthread_join(id[i], NULL);
		calls += count[i][0];
	}
	printf("calls %ld\n", calls);
	return 0;
}
