/* loop [N [USEC]] [wait]: calls work N times (1000), sleeping USEC (0) after
   each call, then prints "calls N" and "sum S", S = 3*N*(N-1)/2 + N. */
#include "fixture.h"

PROBED long work(long i)
{
	return i * 3 + 1;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 1000), pause = arg(argc, argv, 2, 0), sum = 0;
	for (long i = 0; i < n; i++) {
		sum += work(i);
		if (pause)
			usleep(pause);
	}
	printf("calls %ld\nsum %ld\n", n, sum);
	return 0;
}
