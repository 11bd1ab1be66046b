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
     once     SA_RESETHAND in a child, with traps of its own: the second ends it
     kept     what is kept of a full mask and unknown flags
     stack    the stack and the return address that a handler has
     cleared  children of clone3 without handlers: caught, ignored, and its exec
     shared   children in the program's memory, with handlers of their own
     indirect SIGTRAP's action by syscall(), then by sigaction; its own trap
     mask     the signals blocked in a handler with an sa_mask
     restart  a read that a handled or ignored SIGTRAP interrupts goes on
     nap      a nanosleep that an ignored SIGTRAP interrupts goes on */
#define _GNU_SOURCE
#include "fixture.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
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

static void second(int sig, siginfo_t *info, void *context)
{
	handler(sig, info, context);
	handled += 100;
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
	struct sigaction sa = {.sa_sigaction = f, .sa_flags = flags | (f == handler || f == second ? SA_SIGINFO : 0)};
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

static void ask(const char *when)
{
	struct sigaction sa;
	sigaction(SIGTRAP, NULL, &sa);
	printf("%s: %s, flags %x, %d %d %d\n", when, sa.sa_handler == SIG_DFL ? "default" : sa.sa_handler == SIG_IGN ? "ignored" : "caught",
	       sa.sa_flags, sigismember(&sa.sa_mask, SIGKILL), sigismember(&sa.sa_mask, SIGSTOP), sigismember(&sa.sa_mask, SIGUSR1));
	fflush(stdout);
}

/* What becomes of a child of the program's. */
static void await(pid_t pid)
{
	int status = -1;
	waitpid(pid, &status, 0);
	printf("status %x\n", status);
	fflush(stdout);
}

static void once(long n)
{
	for (int nodefer = 0; nodefer < 2; nodefer++) {
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			handle(handler, SA_RESETHAND | (nodefer ? SA_NODEFER : 0));
			calls(n);
			trap();
			calls(n);
			ask("after one");
			if (nodefer) { /* set again, it works again */
				handle(handler, SA_RESETHAND);
				raise(SIGTRAP);
				ask("after two");
			}
			printf("handled %ld trapped %ld sent %ld odd %ld\n", handled, trapped, sent, odd);
			fflush(stdout);
			trap();
			_exit(7);
		}
		await(pid);
	}
}

static void kept(long n)
{
	int signals[] = {SIGUSR1, SIGTRAP};
	for (int i = 0; i < 2; i++) {
		struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART | 0x400 | 0x2000000}, now;
		sigfillset(&sa.sa_mask);
		sigaction(signals[i], &sa, NULL);
		calls(n);
		sigaction(signals[i], NULL, &now);
		printf("kept %x %d %d %d\n", now.sa_flags, sigismember(&now.sa_mask, SIGKILL),
		       sigismember(&now.sa_mask, SIGSTOP), sigismember(&now.sa_mask, SIGTERM));
	}
}

static char other[65536];
static volatile long here, back[2];

static void where(int sig, siginfo_t *info, void *context)
{
	char c;
	here = &c >= other && &c < other + sizeof other;
	back[sig == SIGTRAP] = (long)__builtin_return_address(0);
}

static void stack(long n)
{
	stack_t st = {.ss_sp = other, .ss_size = sizeof other};
	sigaltstack(&st, NULL);
	for (int flags = 0;; flags = SA_ONSTACK) {
		struct sigaction sa = {.sa_sigaction = where, .sa_flags = SA_SIGINFO};
		sigaction(SIGUSR1, &sa, NULL);
		handle(where, flags | SA_SIGINFO);
		calls(n);
		raise(SIGUSR1);
		raise(SIGTRAP);
		printf("on the other stack %ld, returns alike %d\n", here, back[0] == back[1]);
		if (flags)
			break;
	}
}

static long clone_cleared(void)
{
	/* struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls */
	unsigned long long args[8] = {0x100000000 /* CLONE_CLEAR_SIGHAND */, 0, 0, 0, SIGCHLD};
	return syscall(435 /* clone3 */, args, sizeof args);
}

static void cleared(long n)
{
	void (*actions[])(int, siginfo_t *, void *) = {handler, IGNORE, IGNORE};
	for (int i = 0; i < 3; i++) {
		handle(actions[i], SA_RESTART);
		calls(n);
		fflush(stdout);
		pid_t pid = clone_cleared();
		if (pid == 0) {
			calls(n);
			ask("child");
			if (i == 2)
				execl("/proc/self/exe", "traps", "asks", NULL);
			kill(getpid(), SIGTRAP);
			handle(handler, 0);
			trap();
			ask("child, with its own");
			printf("handled %ld trapped %ld odd %ld\n", handled, trapped, odd);
			fflush(stdout);
			_exit(3);
		}
		await(pid);
	}
	ask("parent");
}

static int sharer(void *mode)
{
	calls(3);
	ask("shared");
	if (mode)
		handle(second, 0);
	kill(getpid(), SIGTRAP);
	calls(3);
	trap();
	_exit(5);
}

static void shared(long n)
{
	handle(handler, 0);
	for (long mode = 0; mode < 3; mode++) { /* in the last they have one table of handlers */
		int flags = CLONE_VM | CLONE_VFORK | SIGCHLD | (mode == 2 ? CLONE_SIGHAND : 0);
		await(clone(sharer, other + sizeof other, flags, (void *)mode));
		calls(n);
		trap();
		printf("handled %ld trapped %ld odd %ld\n", handled, trapped, odd);
	}
}

static void indirect(long n)
{
	struct { void *f; unsigned long flags; void *restorer; unsigned long mask; } act;
	memset(&act, 1, sizeof act);
	printf("asked %ld", syscall(SYS_rt_sigaction, SIGTRAP, NULL, &act, 8L));
	printf(": default %d\n", act.f == NULL);
	memset(&act, 0, sizeof act);
	printf("set %ld\n", syscall(SYS_rt_sigaction, SIGTRAP, &act, NULL, 8L));
	printf("wrong size %ld\n", syscall(SYS_rt_sigaction, SIGTRAP, &act, NULL, 4L));
	printf("wrong place %ld\n", syscall(SYS_rt_sigaction, SIGTRAP, 8L, NULL, 8L));
	printf("another %ld\n", syscall(SYS_rt_sigaction, SIGUSR1, NULL, &act, 8L));
	printf("no call of that kind %d\n", syscall(SYS_getpid, SIGTRAP) == getpid());
	handle(handler, SA_RESTART);
	calls(n);
	trap();
	raise(SIGTRAP);
	memset(&act, 1, sizeof act);
	syscall(SYS_rt_sigaction, SIGTRAP, NULL, &act, 8L);
	printf("its own %d, flags %lx\n", act.f == (void *)handler, act.flags & ~0x04000000ul);
	act.f = (void *)SIG_IGN;
	syscall(SYS_rt_sigaction, SIGTRAP, &act, NULL, 8L);
	calls(n);
	raise(SIGTRAP);
	ask("in the end");
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "asks") == 0) {
		ask("after exec");
		return 0;
	}
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
	} else if (strcmp(mode, "once") == 0)
		once(n);
	else if (strcmp(mode, "kept") == 0)
		kept(n);
	else if (strcmp(mode, "stack") == 0)
		stack(n);
	else if (strcmp(mode, "cleared") == 0)
		cleared(n);
	else if (strcmp(mode, "shared") == 0)
		shared(n);
	else if (strcmp(mode, "indirect") == 0)
		indirect(n);
	else if (strcmp(mode, "mask") == 0)
		masked(n);
	else if (strcmp(mode, "restart") == 0)
		restart(n);
	else if (strcmp(mode, "nap") == 0)
		nap(n);
	printf("end %ld handled %ld queued %ld sent %ld trapped %ld odd %ld\n",
	       calls(n), handled, queued, sent, trapped, odd);
	return 0;
}
