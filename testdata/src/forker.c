/* forker [fork|vfork|exec|spawn|clear [K [N]]] [wait]: K (2) times, one after another,
   makes a child that calls work N (100) times, and calls it N times itself.
   In modes exec and spawn the child executes this program again before it calls, in
   mode spawn by posix_spawn, with a handler for SIGUSR1 that is to be reset. In mode
   clear it is made without handlers (CLONE_CLEAR_SIGHAND). Prints
   "child PID" and "status S" for each child, then "calls C", the parent's own. */
#define _GNU_SOURCE
#include "fixture.h"
#include <spawn.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

static void ignore(int sig)
{
	(void)sig;
}

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

static pid_t spawn(char *count)
{
	pid_t pid;
	char *argv[] = {"forker", "leaf", count, NULL};
	signal(SIGUSR1, ignore);
	return posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) ? -1 : pid;
}

static pid_t clear(void)
{
	/* struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls */
	unsigned long long args[8] = {0x100000000, 0, 0, 0, SIGCHLD};
	return syscall(435 /* clone3 */, args, sizeof args);
}

static pid_t make(const char *mode, char *count)
{
	if (strcmp(mode, "clear") == 0)
		return clear();
	return strcmp(mode, "spawn") == 0 ? spawn(count) : fork();
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
		pid_t pid = strcmp(mode, "vfork") == 0 ? vfork() : make(mode, count);
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
