/* throw [N] [wait]: N (1000) times an exception through a few frames, and a longjmp over some others; prints "sum S". */
#include "fixture.h"
#include <setjmp.h>
#include <stdexcept>

static jmp_buf jump;

struct Guard {
	~Guard() { asm volatile(""); }
};

extern "C" PROBED int thrower(int n)
{
	if (n == 0)
		throw std::runtime_error("thrown");
	Guard guard;
	return thrower(n - 1) + 1;
}

extern "C" PROBED int catcher(int n)
{
	try {
		return thrower(n);
	} catch (std::exception &e) {
		return n;
	}
}

extern "C" PROBED void leaper(int n)
{
	if (n == 0)
		longjmp(jump, 1);
	if (n > 0) /* always: the compiler is not to know */
		leaper(n - 1);
}

extern "C" PROBED int lander(int n)
{
	if (setjmp(jump))
		return 1;
	leaper(n);
	return 0;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long rounds = arg(argc, argv, 1, 1000), sum = 0;
	for (long i = 0; i < rounds; i++) {
		sum += catcher(i % 9);
		sum += lander(i % 7);
	}
	printf("sum %ld\n", sum);
	return 0;
}
