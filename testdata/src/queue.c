/* queue [N] [wait]: a child queues N (50) numbered values each of two real-time
   signals and a SIGUSR1 to its parent, which calls work until all are there.
   Prints for each signal the values in the order in which they came. */
#define _GNU_SOURCE
#include "fixture.h"
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define MOST 1000
static volatile int got[3], values[3][MOST], bad;
static volatile pid_t child;

PROBED long work(long i)
{
	return i + 1;
}

static void handler(int sig, siginfo_t *info, void *context)
{
	int k = sig == SIGUSR1 ? 2 : sig - SIGRTMIN, code = k == 2 ? SI_USER : SI_QUEUE;
	if (info->si_signo != sig || info->si_code != code || info->si_pid != child || info->si_uid != getuid())
		bad++;
	if (got[k] < MOST)
		values[k][got[k]++] = k == 2 ? 0 : info->si_value.sival_int;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	int n = arg(argc, argv, 1, 50), fds[2];
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaction(SIGRTMIN, &sa, NULL);
	sigaction(SIGRTMIN + 1, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	if (n > MOST || pipe(fds))
		return 1;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		char c;
		while (read(fds[0], &c, 1) < 0)
			;
		kill(getppid(), SIGUSR1);
		for (int i = 0; i < 2 * n; i++) {
			union sigval v = {.sival_int = i / 2};
			while (sigqueue(getppid(), SIGRTMIN + i % 2, v) < 0 && errno == EAGAIN)
				;
		}
		_exit(0);
	}
	if (write(fds[1], "", 1) != 1)
		return 1;
	long i = 0;
	while (got[0] < n || got[1] < n || got[2] < 1)
		i = work(i);
	waitpid(child, NULL, 0);
	for (int k = 0; k < 3; k++) {
		printf("signal %d:", k);
		for (int j = 0; j < got[k]; j++)
			printf(" %d", values[k][j]);
		printf("\n");
	}
	printf("bad %d\n", bad);
	return 0;
}
