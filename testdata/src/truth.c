/* truth: see truth.h. */
#include "truth.h"

/* mix has several exits; the low 16 bits of its result are all, none or part of what matters. */
PROBED uint64_t mix(uint64_t a, int64_t b, int c, const char *text, uint64_t e, void *f)
{
	uint64_t r = a * 3 + b;
	switch (c & 7) {
	case 0:
		return r & ~0xffffull;
	case 1:
		return (r & 0xffff) | 0x8000;
	case 2:
		return -(r >> 33);
	case 3:
		return e;
	}
	return (r ^ e) + text[0] + (f != NULL);
}

PROBED int small(int a, short b)
{
	return a % 1000 - b;
}

PROBED const char *name(long i)
{
	return words[(i * 3 + 1) % 7];
}

PROBED long fact(long n)
{
	uint64_t t = now();
	long r = n < 2 ? 1 : n * again(n - 1);
	mine->inner = now() - t;
	return r;
}

PROBED long spin(long ns)
{
	uint64_t t = now(), d;
	while ((d = now() - t) < (uint64_t)ns)
		;
	mine->inner = d;
	return d;
}

int main(int argc, char **argv)
{
	return truth(argc, argv);
}
