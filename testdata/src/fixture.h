/* What the C fixtures share: they say who they are, and may wait to be traced. */
#ifndef FIXTURE_H
#define FIXTURE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A function that no optimisation across functions may touch: not inlined,
   not cloned, its result not foreseen. One call is one hit. */
#define PROBED __attribute__((noipa))

/* ready prints the pid. Where the last argument is "wait" it then waits for a
   byte (or the end) of standard input, and takes the argument away. */
static inline void ready(int *argc, char **argv)
{
	char c;
	printf("pid %d\n", (int)getpid());
	fflush(stdout);
	if (*argc > 1 && strcmp(argv[*argc - 1], "wait") == 0) {
		argv[--*argc] = NULL;
		while (read(0, &c, 1) < 0)
			;
	}
}

static inline long arg(int argc, char **argv, int i, long otherwise)
{
	return i < argc ? strtol(argv[i], NULL, 0) : otherwise;
}
#endif
