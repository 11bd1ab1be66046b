/* life MODE [K [N]] [wait]: tasks that come and go; each calls work N (100)
   times. Prints "calls C" of the process itself and what became of the others.
     spawn    K (2) posix_spawns of this program, SIGTRAP handler set before
     clonevm  K clone(CLONE_VM) children, not threads
     threads  K threads, one after another
     exec     a thread that is not the leader executes this program
     leader   the leader ends before K threads
     last     a thread that is not the leader ends all, with status 4, when
              there is a byte of input
     signal   a handler of SIGUSR1 waits for a byte of input
     tree     K generations of fork
     hold     a fork's child that calls, waits for a byte of input, and calls again
     holdexec the same with a posix_spawn */
#define _GNU_SOURCE
#include "fixture.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;
static long n;
static char count[32];
static volatile long handled;

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

static int held(void)
{
	char c;
	if (leaf(n))
		return 1;
	while (read(0, &c, 1) < 0)
		;
	return leaf(n);
}

static void handler(int sig)
{
	handled++;
}

static void reap(pid_t pid)
{
	int status = -1;
	if (pid < 0 || waitpid(pid, &status, __WALL) != pid)
		exit(3);
	printf("status %d\n", status);
}

static void spawn(char *self, char *what)
{
	char *argv[] = {self, what, count, NULL};
	posix_spawnattr_t attr;
	sigset_t set;
	pid_t pid;
	sigemptyset(&set);
	sigaddset(&set, SIGTRAP);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	if (posix_spawn(&pid, "/proc/self/exe", NULL, &attr, argv, environ))
		exit(3);
	reap(pid);
}

static int child(void *unused)
{
	_exit(leaf(n));
}

static void clonevm(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	reap(clone(child, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL));
}

static void *run(void *unused)
{
	return (void *)(long)leaf(n);
}

static void thread(void)
{
	pthread_t id;
	void *bad;
	if (pthread_create(&id, NULL, run, NULL) || pthread_join(id, &bad) || bad)
		exit(3);
}

static void *executes(void *self)
{
	leaf(n);
	execl("/proc/self/exe", (char *)self, "leaf", count, (char *)NULL);
	exit(3);
}

static void *ends(void *unused)
{
	char c;
	while (read(0, &c, 1) < 0)
		;
	exit(4);
}

static void waits(int sig)
{
	char c;
	while (read(0, &c, 1) < 0)
		;
	_exit(0);
}

static void *outlives(void *leader)
{
	long left = (long)leader;
	if (left)
		pthread_join((pthread_t)left, NULL);
	leaf(n);
	return NULL;
}

static void leaderless(long k)
{
	pthread_t id[64];
	for (long i = 0; i < k && i < 64; i++)
		if (pthread_create(&id[i], NULL, outlives, i ? NULL : (void *)pthread_self()))
			exit(3);
	pthread_exit(NULL);
}

static void tree(long k)
{
	leaf(n);
	if (k == 0)
		return;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		tree(k - 1);
		exit(0);
	}
	reap(pid);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "leaf") == 0)
		return leaf(atol(argv[2]));
	if (argc == 3 && strcmp(argv[1], "held") == 0) {
		n = atol(argv[2]);
		return held();
	}
	ready(&argc, argv);
	const char *mode = argc > 1 ? argv[1] : "threads";
	long k = arg(argc, argv, 2, 2);
	n = arg(argc, argv, 3, 100);
	snprintf(count, sizeof count, "%ld", n);
	if (strcmp(mode, "spawn") == 0)
		signal(SIGTRAP, handler);
	if (strcmp(mode, "exec") == 0) {
		pthread_t id;
		pthread_create(&id, NULL, executes, argv[0]);
		for (;;)
			pause();
	}
	if (strcmp(mode, "last") == 0) {
		pthread_t id;
		pthread_create(&id, NULL, ends, NULL);
		for (;;)
			pause();
	}
	if (strcmp(mode, "signal") == 0) {
		signal(SIGUSR1, waits);
		raise(SIGUSR1);
	}
	if (strcmp(mode, "leader") == 0)
		leaderless(k);
	if (strcmp(mode, "tree") == 0)
		tree(k);
	else
		for (long i = 0; i < k; i++) {
			if (strcmp(mode, "spawn") == 0)
				spawn(argv[0], "leaf");
			else if (strcmp(mode, "holdexec") == 0)
				spawn(argv[0], "held");
			else if (strcmp(mode, "hold") == 0) {
				fflush(stdout);
				pid_t pid = fork();
				if (pid == 0)
					_exit(held());
				reap(pid);
			}
			else if (strcmp(mode, "clonevm") == 0)
				clonevm();
			else
				thread();
			leaf(n);
		}
	if (strcmp(mode, "spawn") == 0) {
		raise(SIGTRAP);
		printf("handled %ld\n", handled);
	}
	printf("end\n");
	return 0;
}
