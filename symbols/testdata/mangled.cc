// Names that C++ makes.
#include <string>
#include <vector>

#define NOINLINE __attribute__((noinline))

namespace shop {
struct Cart {
	std::vector<int> items;
	NOINLINE explicit Cart(int n) { items.push_back(n); }
	NOINLINE void add(int n) { items.push_back(n); }
	NOINLINE void add(const std::string &s) { items.push_back(s.size()); }
	NOINLINE bool operator<(const Cart &o) const { return items.size() < o.items.size(); }
	NOINLINE int operator()(int x) const { return items[0] + x; }
	NOINLINE Cart &operator+=(int n) { items.push_back(n); return *this; }
};
template <typename T> NOINLINE T twice(T x) { return x + x; }
namespace { NOINLINE int hidden(int x) { return x * 5; } }
int use(int x) { return hidden(x); }
}

int main(int argc, char **) {
	shop::Cart c(argc), d(2);
	c.add(3);
	c.add(std::string("x"));
	c += 4;
	return (c < d) + c(shop::twice(argc)) + static_cast<int>(shop::twice(1.5)) + shop::use(argc);
}
