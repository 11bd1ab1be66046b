/* plug.so: a library to be loaded; its constructor calls plugged, too. */
#include <stdio.h>
#define PROBED __attribute__((noipa))

PROBED long plugged(long i)
{
	return i * 7;
}

long before;

__attribute__((constructor)) static void early(void)
{
	for (long i = 0; i < 3; i++)
		before += plugged(i);
}
