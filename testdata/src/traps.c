/* traps MODE [N] [wait]: the program's own dealings with SIGTRAP, with N (20)
   calls of work in between. Modes:
     own      its own trap instructions, with a handler of its own
     die      its own trap instruction, no handler: ends by SIGTRAP
     dieign   the same where SIGTRAP is ignored
     dieblock the same where SIGTRAP is blocked, with a handler
     raise    raise, kill and sigqueue of SIGTRAP, with a handler
     default  raise without a handler: ends by SIGTRAP
     ignore   raise where it is ignored
     pending  raise where it is blocked, then unblocked
     query    what sigaction says of a handler that was set
     block    all signals blocked; the mask and the handler afterwards
     blockone only SIGTRAP blocked; the same
     reset    SA_RESETHAND: the second raise ends it
     mask     the signals blocked in a handler with an sa_mask
     restart  a read that a handled or ignored SIGTRAP interrupts goes on
     nap      a nanosleep that an ignored SIGTRAP interrupts goes on */
#define _GNU_SOURCE
#include "fixture.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

static volatile long handled, queued, sent, trapped, odd;
static sigset_t inside;

PROBED long work(long i)
{
	return i + 2;
}

#if defined __x86_64__
PROBED void trap(void) { asm volatile("int3"); }
#else
PROBED void trap(void) { asm volatile("brk #0x77"); }
#endif

static void handler(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	handled++;
	if (info->si_code == SI_QUEUE && info->si_value.sival_int == 42)
		queued++;
	else if (info->si_code == SI_USER || info->si_code == SI_TKILL)
		sent += info->si_pid == getpid();
#if defined __x86_64__
	else if (info->si_code == SI_KERNEL && ((char *)u->uc_mcontext.gregs[REG_RIP])[-1] == (char)0xcc)
		trapped++;
#else
	else if (info->si_code == TRAP_BRKPT && info->si_addr == (void *)u->uc_mcontext.pc) {
		trapped++;
		u->uc_mcontext.pc += 4;
	}
#endif
	else
		odd++;
	pthread_sigmask(SIG_BLOCK, NULL, &inside);
}

static long calls(long n)
{
	long x = 0;
	for (long i = 0; i < n; i++)
		x = work(x);
	return x;
}

static void handle(void (*f)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = {.sa_sigaction = f, .sa_flags = flags | (f == handler ? SA_SIGINFO : 0)};
	sigaction(SIGTRAP, &sa, NULL);
}
#define IGNORE ((void (*)(int, siginfo_t *, void *))SIG_IGN)

static void own(long n)
{
	handle(handler, 0);
	for (long i = 0; i < n; i++) {
		calls(1);
		trap();
	}
}

static void raising(long n)
{
	handle(handler, 0);
	for (long i = 0; i < n; i++) {
		union sigval v = {.sival_int = 42};
		calls(1);
		raise(SIGTRAP);
		calls(1);
		kill(getpid(), SIGTRAP);
		calls(1);
		sigqueue(getpid(), SIGTRAP, v);
	}
}

static void query(long n)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER}, old;
	sigaction(SIGTRAP, NULL, &old);
	printf("first %d\n", old.sa_handler == SIG_DFL);
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaction(SIGTRAP, &sa, &old);
	printf("second %d\n", old.sa_handler == SIG_DFL);
	calls(n);
	sigaction(SIGTRAP, NULL, &old);
	printf("third %d %x %d %d\n", old.sa_sigaction == handler, old.sa_flags & ~0x04000000,
	       sigismember(&old.sa_mask, SIGUSR2), sigismember(&old.sa_mask, SIGUSR1));
}

static void blocked(long n, int all)
{
	sigset_t set, now;
	sigemptyset(&set);
	if (all)
		sigfillset(&set);
	else
		sigaddset(&set, SIGTRAP);
	handle(handler, 0);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	calls(n);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	printf("blocked %d %d\n", sigismember(&now, SIGTRAP), sigismember(&now, SIGUSR1));
	sigpending(&set);
	printf("pending %d\n", sigismember(&set, SIGTRAP));
	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	calls(n);
	raise(SIGTRAP);
}

static void pending(long n)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTRAP);
	handle(handler, 0);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	raise(SIGTRAP);
	raise(SIGTRAP);
	printf("before %ld\n", handled);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	calls(n);
}

static void masked(long n)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigaddset(&sa.sa_mask, SIGUSR1);
	sigaction(SIGTRAP, &sa, NULL);
	for (int i = 0; i < 2; i++) {
		calls(n);
		raise(SIGTRAP);
		printf("inside %d %d %d\n", sigismember(&inside, SIGTRAP), sigismember(&inside, SIGUSR1), sigismember(&inside, SIGUSR2));
		sigemptyset(&sa.sa_mask);
		sigaddset(&sa.sa_mask, SIGUSR2);
		sa.sa_flags |= SA_NODEFER;
		sigaction(SIGTRAP, &sa, NULL);
	}
}

/* A child sends SIGTRAP while we sleep in read, then writes. */
static void interrupted(void)
{
	int fds[2];
	char c;
	if (pipe(fds))
		exit(1);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		usleep(50000);
		kill(getppid(), SIGTRAP);
		usleep(50000);
		_exit(write(fds[1], "x", 1) != 1);
	}
	long got = read(fds[0], &c, 1);
	printf("read %ld %s\n", got, got < 0 ? strerror(errno) : "");
	waitpid(pid, NULL, 0);
	close(fds[0]);
	close(fds[1]);
}

static void restart(long n)
{
	handle(handler, SA_RESTART);
	calls(n);
	interrupted();
	handle(handler, 0);
	calls(n);
	interrupted();
	handle(IGNORE, 0);
	calls(n);
	interrupted();
}

static void nap(long n)
{
	handle(IGNORE, 0);
	calls(n);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		usleep(50000);
		kill(getppid(), SIGTRAP);
		_exit(0);
	}
	struct timespec ts = {0, 150000000};
	printf("sleep %d\n", nanosleep(&ts, NULL));
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	const char *mode = argc > 1 ? argv[1] : "own";
	long n = arg(argc, argv, 2, 20);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTRAP);
	calls(n);
	if (strcmp(mode, "own") == 0)
		own(n);
	else if (strcmp(mode, "die") == 0)
		trap();
	else if (strcmp(mode, "dieign") == 0) {
		handle(IGNORE, 0);
		calls(n);
		trap();
	} else if (strcmp(mode, "dieblock") == 0) {
		handle(handler, 0);
		calls(n);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
		trap();
	} else if (strcmp(mode, "raise") == 0)
		raising(n);
	else if (strcmp(mode, "default") == 0)
		raise(SIGTRAP);
	else if (strcmp(mode, "ignore") == 0) {
		handle(IGNORE, 0);
		calls(n);
		raise(SIGTRAP);
		calls(n);
	} else if (strcmp(mode, "pending") == 0)
		pending(n);
	else if (strcmp(mode, "query") == 0)
		query(n);
	else if (strcmp(mode, "block") == 0)
		blocked(n, 1);
	else if (strcmp(mode, "blockone") == 0)
		blocked(n, 0);
	else if (strcmp(mode, "reset") == 0) {
		handle(handler, SA_RESETHAND);
		raise(SIGTRAP);
		calls(n);
		printf("once\n");
		fflush(stdout);
		raise(SIGTRAP);
	} else if (strcmp(mode, "mask") == 0)
		masked(n);
	else if (strcmp(mode, "restart") == 0)
		restart(n);
	else if (strcmp(mode, "nap") == 0)
		nap(n);
	printf("end %ld handled %ld queued %ld sent %ld trapped %ld odd %ld\n",
	       calls(n), handled, queued, sent, trapped, odd);
	return 0;
}
