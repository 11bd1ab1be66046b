/* host LIBRARY [K [N]] [wait]: K (3) times loads the library, calls its
   function plugged N (100) times and unloads it. In between it takes the place
   where the library was, so that the next load comes elsewhere. Prints "sum S". */
#define _GNU_SOURCE
#include "fixture.h"
#include <dlfcn.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long k = arg(argc, argv, 2, 3), n = arg(argc, argv, 3, 100), sum = 0, places = 0;
	void *last = NULL;
	for (long i = 0; i < k; i++) {
		void *h = dlopen(argv[1], RTLD_NOW);
		if (!h) {
			fprintf(stderr, "%s\n", dlerror());
			return 1;
		}
		long (*f)(long) = (long (*)(long))dlsym(h, "plugged");
		sum += *(long *)dlsym(h, "before");
		places += (void *)f != last;
		last = (void *)f;
		for (long j = 0; j < n; j++)
			sum += f(j);
		dlclose(h);
		mmap((void *)((unsigned long)last & -4096L), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	}
	printf("sum %ld\nmoved %d\n", sum, places == k);
	return 0;
}
