/* chosen [N] [wait]: calls N (500) times "foo", an IFUNC of its own whose implementation
   has another name, and with CLONES "work", of which the compiler makes a clone for each
   CPU. Prints "calls N", how often each was called.
   With LIBRARY it is a library with "foo" instead, with USER one that calls that, and with
   CALLER the program that loads these: chosen-caller N LIBRARY USER [bound|pointer] [wait].
   bound: it has called foo once before it waits; pointer: it has asked dlsym for it, and
   calls what that has given. */
#define _GNU_SOURCE
#include "fixture.h"
#include <dlfcn.h>

#if defined USER || defined CALLER
long foo(long);
#else
typedef long fn(long);

PROBED static long plain(long x)
{
	return x * 3 + 1;
}

__attribute__((used)) static fn *resolve_foo(void)
{
	return plain;
}

long foo(long) __attribute__((ifunc("resolve_foo")));
#endif

#if !defined USER && !defined CALLER && !defined LIBRARY
/* One that is never called: its resolver chooses nothing. */
__attribute__((used)) static fn *resolve_nothing(void)
{
	return NULL;
}

long nothing(long) __attribute__((ifunc("resolve_nothing")));
long (*volatile keep)(long) = nothing;
#endif

#ifdef CLONES
__attribute__((target_clones("avx2", "default"), noinline)) long work(long x)
{
	__asm__ volatile("");
	return x * 5 + 2;
}
#endif

#ifdef USER
PROBED long use(long x)
{
	return foo(x) + 1;
}
#endif

#ifdef CALLER
int main(int argc, char **argv)
{
	void *lib = argc > 3 ? dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL) : NULL;
	void *user = lib ? dlopen(argv[3], RTLD_LAZY) : NULL;
	if (user == NULL)
		return 1;
	const char *mode = argc > 4 ? argv[4] : "";
	long (*call)(long) = (long (*)(long))dlsym(user, "use"), sum = 0;
	if (strcmp(mode, "bound") == 0)
		sum += call(0);
	if (strcmp(mode, "pointer") == 0)
		call = (long (*)(long))dlsym(lib, "foo");
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 500);
	for (long i = 0; i < n; i++)
		sum += call(i);
	printf("calls %ld\nsum %ld\n", n, sum);
	return 0;
}
#elif !defined LIBRARY && !defined USER
int main(int argc, char **argv)
{
	long sum = 0;
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 500);
	for (long i = 0; i < n; i++)
		sum += foo(i);
#ifdef CLONES
	for (long i = 0; i < n; i++)
		sum += work(i);
#endif
	printf("calls %ld\nsum %ld\n", n, sum);
	return 0;
}
#endif
