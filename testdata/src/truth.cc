/* truth in C++: functions of a namespace and of a class; see truth.h. */
#define MIX probed::mix
#define SMALL probed::Calls::small
#define NAME probed::name
#define FACT probed::fact
#define SPIN probed::Calls::spin
#include <cstdint>
#include <cstddef>

namespace probed {
uint64_t mix(uint64_t a, int64_t b, int c, const char *text, uint64_t e, void *f);
const char *name(long i);
long fact(long n);
struct Calls {
	static int small(int a, short b);
	static long spin(long ns);
};
} // namespace probed
#include "truth.h"

/* mix catches what it throws: an exit among frames that are unwound. */
PROBED uint64_t probed::mix(uint64_t a, int64_t b, int c, const char *text, uint64_t e, void *f)
{
	uint64_t r = a * 3 + b;
	switch (c & 7) {
	case 0:
		return r & ~0xffffull;
	case 1:
		return (r & 0xffff) | 0x8000;
	case 2:
		try {
			throw r >> 33;
		} catch (uint64_t v) {
			return -v;
		}
	}
	return (r ^ e) + text[0] + (f != NULL);
}

PROBED int probed::Calls::small(int a, short b)
{
	return a % 1000 - b;
}

PROBED const char *probed::name(long i)
{
	return words[(i * 3 + 1) % 7];
}

PROBED long probed::fact(long n)
{
	uint64_t t = now();
	long r = n < 2 ? 1 : n * again(n - 1);
	mine->inner = now() - t;
	return r;
}

PROBED long probed::Calls::spin(long ns)
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
