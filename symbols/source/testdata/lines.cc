// Lines of many kinds: in loops, inlined calls, templates, branches and switches.
#include <cstdio>
#include <cstdlib>

struct item {
	int id;
	long total;
	int scaled(int by) const
	{
		return id * by;
	}
};

template <class T> T largest(T a, T b)
{
	if (a > b)
		return a;
	return b;
}

static inline int cost(int n)
{
	int r = n * 3;
	if (r > 20)
		r -= 5;
	return r + 1;
}

namespace outer {
struct counter {
	long n = 0;
	void add(int by) { n += by; }
};
}

__attribute__((noinline)) long work(item *it, int n)
{
	long sum = 0;
	for (int i = 0; i < n; i++) {
		sum += cost(i);
		if (sum % 7 == 0)
			it->total++;
	}
	while (n > 0) {
		sum += n;
		n -= 2;
	}
	return sum;
}

__attribute__((noinline)) const char *word(int n)
{
	switch (n % 4) {
	case 0:
		return "zero";
	case 1:
		return "one";
	default:
		break;
	}
	return "many";
}

int main(int argc, char **)
{
	item it = {argc, 0};
	outer::counter all;
	for (int k = 0; k < 100; k++) {
		all.add(work(&it, 10));
		if (k % 10 == 0)
			puts(word(k));
	}
	double d = largest(1.5, (double)argc);
	int m = largest(argc, 3);
	auto twice = [&](int n) {
		return n * 2 + m;
	};
	printf("%ld %ld %g %d\n", all.n, it.total, d, twice(it.scaled(2)));
	return 0;
}
