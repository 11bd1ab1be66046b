/* sleeper [nanosleep|poll|futex|pause [MS [N]]] [wait]: N (10) times sleeps MS
   (20) milliseconds in the named system call; pause sleeps until a signal
   kills it. Prints "sleeps N", "interrupted E" (how often the call gave EINTR)
   and "short S" (how often it came back too early). */
#define _GNU_SOURCE
#include "fixture.h"
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>

static int word;

PROBED int nap(const char *how, long ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
	if (strcmp(how, "poll") == 0)
		return poll(NULL, 0, ms);
	if (strcmp(how, "futex") == 0) {
		int rc = syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, NULL, 0);
		return rc < 0 && errno == ETIMEDOUT ? 0 : rc;
	}
	if (strcmp(how, "pause") == 0)
		return pause();
	return nanosleep(&ts, NULL);
}

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	const char *how = argc > 1 ? argv[1] : "nanosleep";
	long ms = arg(argc, argv, 2, 20), n = arg(argc, argv, 3, 10), interrupted = 0, cut = 0;
	for (long i = 0; i < n; i++) {
		double start = now();
		if (nap(how, ms) < 0) {
			if (errno != EINTR) {
				perror(how);
				return 1;
			}
			interrupted++;
		}
		/* poll's clock has a millisecond's grain */
		cut += now() - start < ms - 1;
	}
	printf("sleeps %ld\ninterrupted %ld\nshort %ld\n", n, interrupted, cut);
	return 0;
}
