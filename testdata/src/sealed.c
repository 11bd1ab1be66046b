/* sealed [T [N]] [wait]: forbids itself by a filter, on pain of death, to ask for ids
   and to read memory by a system call; then T (3) threads, one after the other and
   then together, and a child call work N (100) times each. Prints "calls C". */
#define _GNU_SOURCE
#include "fixture.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static long rounds;

PROBED long work(long i, const char *text)
{
	return i ^ text[0];
}

static void *run(void *p)
{
	for (long i = 0; i < rounds; i++)
		work(i, "text");
	return p;
}

static pthread_barrier_t all; /* are there before the first of them calls it */

static void *together(void *p)
{
	pthread_barrier_wait(&all);
	return run(p);
}

#define DENY(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

static int seal(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		DENY(SYS_gettid), DENY(SYS_getpid), DENY(SYS_process_vm_readv), DENY(SYS_kill), DENY(SYS_getcpu), DENY(SYS_clock_gettime),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 3);
	rounds = arg(argc, argv, 2, 100);
	if (n > 1024 || seal())
		return 2;
	pthread_t ids[1024];
	for (long i = 0; i < n; i++)
		if (pthread_create(&ids[0], NULL, run, NULL) || pthread_join(ids[0], NULL))
			return 1;
	pthread_barrier_init(&all, NULL, n);
	for (long i = 0; i < n; i++)
		if (pthread_create(&ids[i], NULL, together, NULL))
			return 1;
	for (long i = 0; i < n; i++)
		pthread_join(ids[i], NULL);
	run(NULL);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		run(NULL);
		_exit(0);
	}
	int status;
	if (waitpid(child, &status, 0) != child || status)
		return 3;
	printf("calls %ld\n", (2 * n + 2) * rounds);
	return 0;
}
