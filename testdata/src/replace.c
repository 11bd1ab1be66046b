/* replace [N] [stay] [wait]: calls work N (10) times, throws away its own copy of the page
   that work is in, and calls it N times more; stay: it waits for a byte before each of
   these, and behind the last N it has it wait and calls it N times once more. Prints
   "calls C" at the end, and with stay after each N.
   replace loop [wait]: calls work every millisecond, throws the page away at SIGUSR1, and
   ends at SIGTERM. */
#include "fixture.h"
#include <signal.h>
#include <sys/mman.h>

static volatile sig_atomic_t end;
static volatile long calls;

__attribute__((noipa, aligned(4096))) void work(void)
{
	calls++;
}

__attribute__((noipa, aligned(4096))) static void on(int sig)
{
	if (sig == SIGTERM || madvise((void *)work, 4096, MADV_DONTNEED))
		end = 1;
}

static void rounds(long n, int stay)
{
	char c;
	if (stay) {
		printf("calls %ld\n", calls);
		fflush(stdout);
		while (read(0, &c, 1) < 0)
			;
	}
	for (long i = 0; i < n; i++)
		work();
}

static int loop(void)
{
	signal(SIGUSR1, on);
	signal(SIGTERM, on);
	while (!end) {
		work();
		usleep(1000);
	}
	return 0;
}

__attribute__((aligned(4096))) int main(int argc, char **argv)
{
	ready(&argc, argv);
	if (argc > 1 && strcmp(argv[1], "loop") == 0)
		return loop();
	long n = arg(argc, argv, 1, 10);
	int stay = argc > 2;
	rounds(n, 0);
	if (madvise((void *)work, 4096, MADV_DONTNEED))
		return 1;
	rounds(n, stay);
	if (stay)
		rounds(n, stay);
	printf("calls %ld\n", calls);
	return 0;
}
