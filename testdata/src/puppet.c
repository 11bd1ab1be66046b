/* puppet [T] [wait]: T (2) threads, of which thread I does what the bytes say that
   come from descriptor 3+I: 'a' calls one, 'b' calls two. At the end of all of them
   it prints "one N" and "two N", what these have counted. */
#include "fixture.h"
#include <pthread.h>

static long counts[64][2][8];

PROBED long one(long *count)
{
	return ++*count;
}

PROBED long two(long *count)
{
	return ++*count;
}

static void *run(void *arg)
{
	long i = (long)arg, n;
	char c;
	while ((n = read(3 + (int)i, &c, 1)) != 0) {
		if (n < 0)
			continue;
		if (c == 'a')
			one(counts[i][0]);
		else
			two(counts[i][1]);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long t = arg(argc, argv, 1, 2), sums[2] = {0, 0};
	pthread_t id[64];
	for (long i = 0; i < t && i < 64; i++)
		if (pthread_create(&id[i], NULL, run, (void *)i))
			return 1;
	for (long i = 0; i < t && i < 64; i++) {
		pthread_join(id[i], NULL);
		sums[0] += counts[i][0][0];
		sums[1] += counts[i][1][0];
	}
	printf("one %ld\ntwo %ld\n", sums[0], sums[1]);
	return 0;
}
