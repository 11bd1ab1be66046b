/* sandbox HOW [N [hold]] [wait]: forbids itself all system calls but read, write,
   exit_group and rt_sigreturn by seccomp: HOW is kill, trap, errno, strict (mode 1, which
   forbids amd64's clock, too), or open, which forbids nothing. Then it says "sealed", with
   hold waits for a byte (or the end) of standard input, and calls work, for the first
   time, N (100) times. Prints "calls N". */
#define _GNU_SOURCE
#include "fixture.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

PROBED long work(long i, const char *text)
{
	return i ^ text[0];
}

#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int seal(const char *how)
{
	if (strcmp(how, "open") == 0)
		return 0;
	if (strcmp(how, "strict") == 0)
		return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	unsigned other = strcmp(how, "trap") == 0 ? SECCOMP_RET_TRAP : strcmp(how, "errno") == 0 ? SECCOMP_RET_ERRNO | 1 : SECCOMP_RET_KILL_PROCESS;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_read), ALLOW(SYS_write), ALLOW(SYS_exit_group), ALLOW(SYS_rt_sigreturn),
		BPF_STMT(BPF_RET | BPF_K, other),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void say(const char *what, long n)
{
	char text[64];
	int size = snprintf(text, sizeof text, what, n);
	if (write(1, text, size) != size)
		_Exit(3);
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	char c;
	long n = arg(argc, argv, 2, 100);
	int hold = argc > 3 && strcmp(argv[3], "hold") == 0;
	if (argc < 2 || seal(argv[1]))
		return 2;
	say("sealed\n", 0);
	if (hold)
		while (read(0, &c, 1) < 0)
			;
	for (long i = 0; i < n; i++)
		work(i, "text");
	say("calls %ld\n", n);
	if (strcmp(argv[1], "strict") == 0)
		syscall(SYS_exit, 0); /* exit_group is not allowed */
	_exit(0);
}
