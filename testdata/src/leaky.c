/* leaky [N [MS]] [wait]: calls work N (1000) times, which allocates, and loses
   each hundredth; looks for leaks itself if it was built to (-fsanitize=leak),
   stays MS (0) milliseconds longer, and looks again at its end. Prints "calls N". */
#include "fixture.h"

#ifdef __has_include
#if __has_include(<sanitizer/lsan_interface.h>)
#include <sanitizer/lsan_interface.h>
#endif
#endif

PROBED void *work(long i)
{
	return malloc(i + 16);
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 1000), ms = arg(argc, argv, 2, 0);
	for (long i = 0; i < n; i++) {
		void *p = work(i);
		if (i % 100)
			free(p);
	}
	fflush(stdout);
	if (ms)
		__lsan_do_recoverable_leak_check();
	for (long i = 0; i < ms; i++) {
		usleep(1000);
		free(work(i));
	}
	printf("calls %ld\n", n + ms);
	fflush(stdout);
	return 0;
}
