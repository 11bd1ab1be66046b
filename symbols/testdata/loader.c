// Prints its pid and an address of its own, loads the libraries it is given,
// and waits for its input to end.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

int mark(void) { return 42; }

int main(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		void *lib = dlopen(argv[i], RTLD_NOW);
		if (!lib) {
			fprintf(stderr, "%s\n", dlerror());
			return 1;
		}
		printf("%p\n", dlsym(lib, "plain"));
	}
	printf("%p\n", (void *)mark);
	fflush(stdout);
	char c;
	return read(0, &c, 1) != 0;
}
