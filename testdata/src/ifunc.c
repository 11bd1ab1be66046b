/* ifunc [ROUNDS] [wait]: calls chosen, which a resolver picks when the program starts, ROUNDS (8) times; it prints
   "call chosen", as truth.h says. */
#include "fixture.h"

static long calls;

static long counted(long n)
{
	calls++;
	return n * 5;
}

static long (*resolve(void))(long)
{
	return counted;
}

long chosen(long n) __attribute__((ifunc("resolve")));

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long rounds = arg(argc, argv, 1, 8);
	for (long i = 0; i < rounds; i++) {
		long r = chosen(i);
		printf("call chosen %x 0 0 %lx %lx 0 0 0 0 0||\n", getpid(), r, i);
	}
	return calls != rounds;
}
