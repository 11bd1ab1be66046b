/* leaderless [N [PROGRAM]] [wait]: its first thread ends, then another one calls work N
   times (1000) and prints "calls N"; it executes PROGRAM, if there is one, with N. */
#include "fixture.h"
#include <pthread.h>

static pthread_t first;
static int count;
static char **args;

PROBED long work(long i)
{
	return i * 3 + 1;
}

static void *go_on(void *unused)
{
	long n;

	pthread_join(first, NULL);
	ready(&count, args);
	n = arg(count, args, 1, 1000);
	for (long i = 0; i < n; i++)
		work(i);
	printf("calls %ld\n", n);
	fflush(stdout);
	if (count > 2)
		execl(args[2], args[2], args[1], NULL);
	exit(count > 2);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t other;

	first = pthread_self(), count = argc, args = argv;
	pthread_create(&other, NULL, go_on, NULL);
	pthread_exit(NULL);
}
