/* storm [plain|altstack|jump [N [USEC]]] [wait]: calls work N (10000) times
   while a timer's signal comes every USEC (200) microseconds; its handler calls
   tick, runs on an alternate stack, or jumps out of whatever it interrupted.
   Prints "calls C" and "ticks T", what the functions counted, and "sum S". */
#define _GNU_SOURCE
#include "fixture.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

static sigjmp_buf back;
static volatile sig_atomic_t armed, jumps;
static volatile long ticks;

PROBED long work(long *count, long i)
{
	++*count;
	return i ^ *count;
}

PROBED void tick(void)
{
	ticks++;
}

static void handler(int sig)
{
	tick();
	if (armed) {
		armed = 0;
		siglongjmp(back, 1);
	}
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	const char *mode = argc > 1 ? argv[1] : "plain";
	long n = arg(argc, argv, 2, 10000), usec = arg(argc, argv, 3, 200);
	static long count, sum, i;
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	static char stack[65536];
	stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
	int jump = strcmp(mode, "jump") == 0;
	if (strcmp(mode, "altstack") == 0) {
		sa.sa_flags |= SA_ONSTACK;
		sigaltstack(&alt, NULL);
	}
	sigaction(SIGALRM, &sa, NULL);
	struct itimerval every = {{0, usec}, {0, usec}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &every, NULL);
	for (i = 0; i < n; i++) {
		if (jump && sigsetjmp(back, 1) != 0) {
			jumps++;
			continue;
		}
		armed = jump;
		sum += work(&count, i);
		armed = 0;
	}
	while (usec > 0 && ticks == 0) /* the calls may have been too fast for one */
		;
	setitimer(ITIMER_REAL, &never, NULL);
	printf("calls %ld\nticks %ld\n", count, ticks);
	if (!jump)
		printf("sum %ld\n", sum);
	printf("jumps %d\n", (int)jumps);
	return 0;
}
