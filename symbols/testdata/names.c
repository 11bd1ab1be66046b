// Functions of every kind that a symbol table tells apart.
#include <stdlib.h>

#define NOINLINE __attribute__((noinline, noclone))

NOINLINE int plain(int x) { return x * 3 + 1; }

static NOINLINE int helper(int x) { return x ^ 0x55; }

int plain_alias(int x) __attribute__((alias("plain")));

__attribute__((weak)) NOINLINE int weak_one(int x) { return x + 7; }

static NOINLINE int fast(int x) { return x + 1; }
static NOINLINE int slow(int x) { return x + 2; }

typedef int (*fn)(int);

static fn pick(void) { return fast; }

// A resolver, with its implementations named as glibc does.
int chosen(int x) __attribute__((ifunc("resolve_chosen")));
static NOINLINE int __chosen_avx2(int x) { return x + 10; }
static NOINLINE int __chosen_sse2(int x) { return x + 20; }
static fn resolve_chosen(void) { return getenv("X") ? __chosen_avx2 : __chosen_sse2; }

int data_object = 4;

int other(int x);

int main(int argc, char **argv) {
	return (plain(argc) + helper(argc) + weak_one(argc) + chosen(argc) + pick()(argc) + slow(argc) + other(argc)) & 1;
}
