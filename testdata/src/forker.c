/* forker [fork|vfork|exec [K [N]]] [wait]: K (2) times, one after another,
   makes a child that calls work N (100) times, and calls it N times itself.
   In mode exec the child executes this program again before it calls. Prints
   "child PID" and "status S" for each child, then "calls C", the parent's own. */
#define _GNU_SOURCE
#include "fixture.h"
#include <sys/wait.h>

PROBED long work(long i)
{
	return i ^ 5;
}

PROBED static int leaf(long n)
{
	long sum = 0, want = 0;
	for (long i = 0; i < n; i++) {
		sum += work(i);
		want += i ^ 5;
	}
	return sum == want ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "leaf") == 0)
		return leaf(atol(argv[2]));
	ready(&argc, argv);
	const char *mode = argc > 1 ? argv[1] : "fork";
	long k = arg(argc, argv, 2, 2), n = arg(argc, argv, 3, 100);
	char count[32];
	snprintf(count, sizeof count, "%ld", n);
	for (long i = 0; i < k; i++) {
		fflush(stdout);
		pid_t pid = strcmp(mode, "vfork") == 0 ? vfork() : fork();
		if (pid < 0) {
			perror(mode);
			return 1;
		}
		if (pid == 0) {
			if (strcmp(mode, "exec") == 0) {
				execl("/proc/self/exe", argv[0], "leaf", count, (char *)NULL);
				_exit(127);
			}
			_exit(leaf(n));
		}
		int bad = leaf(n), status = 0;
		if (waitpid(pid, &status, 0) != pid || bad)
			return 1;
		printf("child %d\nstatus %d\n", (int)pid, status);
	}
	printf("calls %ld\n", k * n);
	return 0;
}
