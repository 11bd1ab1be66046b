/* dispatch [N [early|late]] [wait]: has its system calls come back to it as SIGSYS, but
   those that libc makes, before it waits (early) or behind. It calls work N times (1000),
   sets a signal's handler after each call, and prints "calls N" and "back K", K of its
   calls having come back. */
#define _GNU_SOURCE
#include "fixture.h"
#include <signal.h>
#include <sys/prctl.h>

static volatile char block = 1;
static volatile int back;

static void on_sys(int sig, siginfo_t *info, void *context)
{
	block = 0;
	back++;
	block = 1;
}

PROBED long work(long i, const char *text)
{
	return i * 3 + text[0];
}

static void set(void)
{
	unsigned long lo = 0, hi = 0;
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");

	while (fgets(line, sizeof line, f))
		if (strstr(line, "/libc.so") && strstr(line, "r-xp"))
			sscanf(line, "%lx-%lx", &lo, &hi);
	fclose(f);
	if (prctl(59, 1, lo, hi - lo, &block)) { /* PR_SET_SYSCALL_USER_DISPATCH */
		perror("prctl");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO}, usr = {.sa_handler = SIG_IGN};
	int early = argc > 2 && strcmp(argv[2], "early") == 0;
	long n;

	sigaction(SIGSYS, &act, NULL);
	if (early)
		set();
	ready(&argc, argv);
	n = arg(argc, argv, 1, 1000);
	if (!early)
		set();
	for (long i = 0; i < n; i++) {
		work(i, "some text");
		sigaction(SIGUSR2, &usr, NULL);
	}
	prctl(59, 0, 0, 0, 0);
	printf("calls %ld\nback %d\n", n, back);
	return 0;
}
