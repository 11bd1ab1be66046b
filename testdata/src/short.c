/* short [T [N [USEC]]] [wait]: T (2) threads call pick N (1000) times each, sleeping USEC (0) after each 1000 calls.
   Both ways through pick end in one return that has no room for a jump. Prints "calls C" and "sum S". */
#include "fixture.h"
#include <pthread.h>

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
	printf("calls %ld\nsum %ld\n", all.calls, all.sum);
	return 0;
}
