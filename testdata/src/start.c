/* start PROGRAM [ARG...]: runs a program as its child and ends as that ended;
   prints "signal N" if that was by a signal. Tests use it to trace processes
   that are not their own children. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int status;
	pid_t pid = argc > 1 ? fork() : -1;
	if (pid < 0)
		return 126;
	if (pid == 0) {
		execv(argv[1], argv + 1);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	if (WIFSIGNALED(status)) {
		printf("signal %d\n", WTERMSIG(status));
		return 128 + WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}
