/* short [T [N [USEC]]] [wait]: T (2) threads call pick N (1000) times each, sleeping USEC (0) after each 1000 calls. Both
   ways through it end in one return that has no room for a jump. Then a child looks at its code. Prints "calls C", "sum S",
   and "child 0" if that is as it was. */
#include "fixture.h"
#include <pthread.h>
#include <sys/wait.h>

static long rounds, pause_us;

/* pick is n + 1, and more where n is odd. What is behind its return says, as a
   displacement, a gigabyte below. */
long pick(long n);
__asm__(".text\n"
	".globl pick\n"
	".type pick, @function\n"
	"pick:\n"
	"	lea 1(%rdi), %rax\n"
	"	test $1, %dil\n"
	"	jne 2f\n"
	"1:	ret\n"
	"2:	add $0x02c45678, %eax\n"
	"	jmp 1b\n"
	".size pick, . - pick\n");

/* code is a checksum of pick and what lies around it. */
static unsigned code(void)
{
	const volatile unsigned char *b = (const void *)pick;
	unsigned sum = 0;
	for (long i = -32; i < 32; i++)
		sum = sum * 31 + b[i];
	return sum;
}

struct sums {
	long calls, sum, pad[6];
};

static void *run(void *p)
{
	struct sums *s = p;
	for (long i = 0; i < rounds; i++) {
		s->sum += pick(i);
		s->calls++;
		if (pause_us && i % 1000 == 999)
			usleep(pause_us);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned was = code();
	ready(&argc, argv);
	long t = arg(argc, argv, 1, 2);
	rounds = arg(argc, argv, 2, 1000);
	pause_us = arg(argc, argv, 3, 0);
	pthread_t *id = calloc(t, sizeof *id);
	struct sums *s = calloc(t, sizeof *s), all = {0};
	for (long i = 0; i < t; i++)
		if (pthread_create(&id[i], NULL, run, s + i)) {
			perror("pthread_create");
			return 1;
		}
	for (long i = 0; i < t; i++) {
		pthread_join(id[i], NULL);
		all.calls += s[i].calls;
		all.sum += s[i].sum;
	}
	int status = -1;
	pid_t child = fork();
	if (child == 0)
		_exit(code() != was);
	if (child < 0 || waitpid(child, &status, 0) != child)
		perror("child");
	printf("calls %ld\nsum %ld\nchild %d\n", all.calls, all.sum, status);
	return 0;
}
