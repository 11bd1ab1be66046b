/* replace [N] [stay] [wait]: calls work N (10) times, throws away its own copy of the page
   that work is in, and calls it N times more; stay: it waits for a byte before each of
   these, and behind the last N it has it wait and calls it N times once more. Prints
   "calls C" at the end, and with stay after each N. */
#include "fixture.h"
#include <sys/mman.h>

static volatile long calls;

__attribute__((noipa, aligned(4096))) void work(void)
{
	calls++;
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

__attribute__((aligned(4096))) int main(int argc, char **argv)
{
	ready(&argc, argv);
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
