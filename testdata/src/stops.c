/* stops WAY PID SITE SLOT CPU: a tracer in C to compare ours with. It counts
   hits of an int3 at address SITE in all threads of PID until they end. CPU is
   where tracer and tracee are both tied to; -1: neither is. Ways:

   least     wait, GETREGS, SETREGS with the PC at SLOT, CONT: one stop a hit
   word      the same with PEEKUSER and POKEUSER of the PC alone
   textbook  put the instruction back, step it, wait, plant again, CONT

   Prints "ready" when the trap is planted and all threads run, "hits H" at the end. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

static unsigned long site, slot, hits;
static long original, trapped;

static long check(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static void least(pid_t t)
{
	struct user_regs_struct r;
	ptrace(PTRACE_GETREGS, t, 0, &r);
	if (r.rip != site + 1)
		return;
	hits++;
	r.rip = slot;
	ptrace(PTRACE_SETREGS, t, 0, &r);
}

static void word(pid_t t)
{
	const void *at = (void *)offsetof(struct user, regs.rip);
	if (ptrace(PTRACE_PEEKUSER, t, at, 0) != site + 1)
		return;
	hits++;
	ptrace(PTRACE_POKEUSER, t, at, slot);
}

static void textbook(pid_t t)
{
	struct user_regs_struct r;
	int status;
	ptrace(PTRACE_GETREGS, t, 0, &r);
	if (r.rip != site + 1)
		return;
	hits++;
	r.rip = site;
	ptrace(PTRACE_SETREGS, t, 0, &r);
	ptrace(PTRACE_POKETEXT, t, site, original);
	ptrace(PTRACE_SINGLESTEP, t, 0, 0);
	waitpid(t, &status, __WALL);
	ptrace(PTRACE_POKETEXT, t, site, trapped);
}

static void pin(pid_t t, int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	check(sched_setaffinity(t, sizeof set, &set), "sched_setaffinity");
}

/* The first thread is left stopped: a trap is planted through it. */
static void attach(pid_t pid, int cpu)
{
	char path[64];
	struct dirent *e;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	if (!dir)
		check(-1, path);
	while ((e = readdir(dir))) {
		pid_t t = atoi(e->d_name);
		int status;
		if (t <= 0)
			continue;
		check(ptrace(PTRACE_SEIZE, t, 0, 0), "PTRACE_SEIZE");
		if (cpu >= 0)
			pin(t, cpu);
		check(ptrace(PTRACE_INTERRUPT, t, 0, 0), "PTRACE_INTERRUPT");
		check(waitpid(t, &status, __WALL), "waitpid");
		if (t != pid)
			check(ptrace(PTRACE_CONT, t, 0, 0), "PTRACE_CONT");
	}
	closedir(dir);
}

int main(int argc, char **argv)
{
	if (argc != 6)
		return 2;
	void (*way)(pid_t) = strcmp(argv[1], "least") == 0 ? least : strcmp(argv[1], "word") == 0 ? word : textbook;
	pid_t pid = atoi(argv[2]), t;
	site = strtoul(argv[3], NULL, 0);
	slot = strtoul(argv[4], NULL, 0);
	int cpu = atoi(argv[5]), status;
	if (cpu >= 0)
		pin(0, cpu);
	attach(pid, cpu);
	errno = 0;
	original = ptrace(PTRACE_PEEKTEXT, pid, site, 0);
	if (errno)
		check(-1, "PTRACE_PEEKTEXT");
	trapped = (original & ~0xffL) | 0xcc;
	check(ptrace(PTRACE_POKETEXT, pid, site, trapped), "PTRACE_POKETEXT");
	check(ptrace(PTRACE_CONT, pid, 0, 0), "PTRACE_CONT");
	printf("ready\n");
	fflush(stdout);
	while ((t = wait4(-1, &status, __WALL, NULL)) > 0) {
		if (!WIFSTOPPED(status))
			continue;
		if (WSTOPSIG(status) == SIGTRAP && status >> 16 == 0)
			way(t);
		ptrace(PTRACE_CONT, t, 0, 0);
	}
	printf("hits %lu\n", hits);
	return 0;
}
