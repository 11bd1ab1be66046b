// Types, inlined calls and variables of many kinds, for readers of debug information.
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct Point {
	int x;
	double y;
	char16_t c;
	Point *next;
	int bits : 3;
	static int made;
	int far() const;
};
int Point::made = 5;
int Point::far() const { return x > 100; }

template <class T> struct Box {
	T v;
	T get() const { return v; }
};

namespace outer {
namespace {
int hidden = 4;
}
enum class Color { Red = 1, Blue = -5 };
union Either {
	int i;
	float f;
};
typedef Either Choice;
int twice(int a) { return a * 2 + hidden; }
}

static inline int square(int a)
{
	int r = a * a;
	return r + 1;
}

int global = 7;
static thread_local int local = 3;

__attribute__((noinline)) int work(const std::string &s, std::vector<int> &v, Point *p, outer::Color e)
{
	int sum = 0;
	for (int i : v)
		sum += square(i) + local;
	if (p)
		sum += p->x + p->far();
	return sum + (int)s.size() + (int)e;
}

int main(int argc, char **)
{
	std::vector<int> v;
	for (int i = 0; i < argc + 3; i++)
		v.push_back(i);
	Point p{1, 2.0, u'x', nullptr, 1};
	Box<Point> b{p};
	std::map<std::string, int> m;
	m["a"] = 1;
	auto u = std::make_unique<Point>(p);
	outer::Choice c{argc};
	printf("%d %d\n", work("hey", v, &p, outer::Color::Red), b.get().x + (int)m.size() + u->x + global + outer::twice(c.i) + Point::made);
}
