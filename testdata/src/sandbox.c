/* sandbox HOW [N [hold | vfork]] [wait]: forbids itself all system calls but read, write,
   exit_group and rt_sigreturn by seccomp: HOW is kill, trap, errno, strict (mode 1, which
   forbids amd64's clock, too), or open, which forbids nothing. Then it says "sealed", with
   hold waits for a byte (or the end) of standard input, and calls work, for the first
   time, N (100) times. Prints "calls N". With vfork it and a child in its memory have
   called work once before, each. */
#define _GNU_SOURCE
#include "fixture.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Of <linux/filter.h> and <linux/seccomp.h>, which musl's compiler does not find. */
struct sock_filter { uint16_t code; uint8_t jt, jf; uint32_t k; };
struct sock_fprog { unsigned short len; struct sock_filter *filter; };
enum { MODE_STRICT = 1, MODE_FILTER };
#define LOAD_NUMBER {0x20, 0, 0, 0}
#define ALLOW(nr) {0x15, 0, 1, nr}, {0x06, 0, 0, 0x7fff0000}
#define OTHERS(action) {0x06, 0, 0, action}
#define KILL_PROCESS 0x80000000u
#define TRAP 0x00030000u
#define ERRNO(e) (0x00050000u | e)

PROBED long work(long i, const char *text)
{
	return i ^ text[0];
}

static int seal(const char *how)
{
	if (strcmp(how, "open") == 0)
		return 0;
	if (strcmp(how, "strict") == 0)
		return prctl(PR_SET_SECCOMP, MODE_STRICT);
	uint32_t other = strcmp(how, "trap") == 0 ? TRAP : strcmp(how, "errno") == 0 ? ERRNO(1) : KILL_PROCESS;
	struct sock_filter filter[] = {
		LOAD_NUMBER, ALLOW(SYS_read), ALLOW(SYS_write), ALLOW(SYS_exit_group), ALLOW(SYS_rt_sigreturn), OTHERS(other),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, MODE_FILTER, &program);
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
	if (argc > 3 && strcmp(argv[3], "vfork") == 0) {
		work(1, "text");
		pid_t child = vfork();
		if (child == 0) {
			work(2, "text");
			_exit(0);
		}
		if (waitpid(child, NULL, 0) != child)
			return 1;
	}
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
