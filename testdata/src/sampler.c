/* sampler [N]: a thread of a child calls work all the time, and N (50) further
   children, one after the other, attach to that thread and let it go, as a sampler
   does. Prints "calls N", and "failed N" with how many of them could not. */
#include "fixture.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct {
	volatile int tid, stop, ended;
	volatile long calls;
} *all;

PROBED long work(long n)
{
	return 2 * n + 1;
}

static void *run(void *unused)
{
	all->tid = syscall(SYS_gettid);
	while (!all->stop) {
		all->calls += work(all->calls) & 1;
		usleep(500);
	}
	all->ended = 1;
	return unused;
}

static int sample(int tid)
{
	int status;
	if (ptrace(PTRACE_ATTACH, tid, 0, 0))
		return errno;
	if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
		return 200;
	return ptrace(PTRACE_DETACH, tid, 0, 0) ? errno : 0;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 50), failed = 0;
	int status;
	all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t sampled = fork();
	if (!sampled) {
		pthread_t id;
		pthread_create(&id, NULL, run, NULL);
		pthread_join(id, NULL);
		pause();
	}
	while (all->calls < 10)
		usleep(1000);
	for (long i = 0; i < n; i++) {
		pid_t pid = fork();
		if (!pid)
			_exit(sample(all->tid));
		waitpid(pid, &status, 0);
		failed += status != 0;
	}
	for (all->stop = 1; !all->ended;)
		usleep(1000);
	printf("calls %ld\nfailed %ld\n", all->calls, failed);
	kill(sampled, SIGKILL);
	waitpid(sampled, &status, 0);
	return 0;
}
