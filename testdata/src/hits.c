/* hits FUNCTION [T [N]] [wait]: T (1) threads call FUNCTION N (1000) times each.
   FUNCTION is push, lea, endbr64, cmp: the instruction it starts with; cmp is
   the stack check that Go functions start with; body starts with a push, too,
   and has room for a jump at its end. Prints "ns X", from the first
   call to the last by the threads' own clocks, and "calls C".

   Beside hit_X lies slot_X, which does the same, for tracers that build no slot
   of their own (nothing leads into hit_X: it can be a jump); and jump_X, which adds 1 to a
   counter and does what hit_X does, for those that put a jump to it there.
   Behind the calls comes "patched N", what that has counted. */
#define _GNU_SOURCE
#include "fixture.h"
#include <pthread.h>
#include <time.h>

#define SITE(name, first, rest)                                         \
	asm(".text\n.globl hit_" #name ", slot_" #name "\n"             \
	    ".type hit_" #name ", @function\n.p2align 6\n"              \
	    "hit_" #name ": " first "\n" rest "\nret\n"                 \
	    ".size hit_" #name ", . - hit_" #name "\n"                  \
	    ".type slot_" #name ", @function\n.p2align 6\n"             \
	    "slot_" #name ": " first "\n" rest "\nret\n"               \
	    ".size slot_" #name ", . - slot_" #name "\n"               \
	    ".globl jump_" #name "\n.type jump_" #name ", @function\n"  \
	    ".p2align 6\njump_" #name ": incq patched(%rip)\n"         \
	    first "\n" rest "\nret\n"                                  \
	    ".size jump_" #name ", . - jump_" #name "\n");              \
	extern void hit_##name(void);

long patched;

SITE(push, "push %rbx", "pop %rbx")
SITE(lea, "lea (%rdi,%rdi,2), %rax", "")
SITE(endbr64, "endbr64", "")
SITE(cmp, "cmp 0x10(%r14), %rsp", "")
SITE(body, "push %rbx", "mov %rdi, %rbx\nmov %rbx, %rdi\npop %rbx")

/* drive calls f n times; r14 points to where a Go function finds its stack's end. */
asm(".text\n.globl drive\n.type drive, @function\n"
    "drive: push %rbx\npush %rbp\npush %r14\n"
    "mov %rdi, %rbx\nmov %rsi, %rbp\nmov %rdx, %r14\n"
    "0: call *%rbx\ndec %rbp\njnz 0b\n"
    "pop %r14\npop %rbp\npop %rbx\nret\n"
    ".size drive, . - drive\n");
extern void drive(void (*f)(void), long n, void *go);

static const struct {
	const char *name;
	void (*f)(void);
} functions[] = {{"push", hit_push}, {"lea", hit_lea}, {"endbr64", hit_endbr64}, {"cmp", hit_cmp}, {"body", hit_body}};

static void (*function)(void);
static long rounds;
static pthread_barrier_t go;

struct times {
	long start, end;
};

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void *run(void *arg)
{
	struct times *t = arg;
	static long stack[8];
	pthread_barrier_wait(&go);
	t->start = now();
	drive(function, rounds, stack);
	t->end = now();
	return NULL;
}

int main(int argc, char **argv)
{
	int waits = argc > 1 && strcmp(argv[argc - 1], "wait") == 0, args = argc - waits;
	const char *name = args > 1 ? argv[1] : "push";
	long t = arg(args, argv, 2, 1);
	rounds = arg(args, argv, 3, 1000);
	for (int i = 0; i < sizeof functions / sizeof *functions; i++)
		if (strcmp(name, functions[i].name) == 0)
			function = functions[i].f;
	if (!function || t < 1 || rounds < 1)
		return 2;
	/* the threads are there when a tracer comes */
	pthread_t *id = calloc(t, sizeof *id);
	struct times *times = calloc(t, sizeof *times), all;
	pthread_barrier_init(&go, NULL, t + 1);
	for (long i = 0; i < t; i++)
		if (pthread_create(&id[i], NULL, run, &times[i]))
			return 1;
	ready(&argc, argv);
	pthread_barrier_wait(&go);
	for (long i = 0; i < t; i++) {
		pthread_join(id[i], NULL);
		if (i == 0 || times[i].start < all.start)
			all.start = times[i].start;
		if (i == 0 || times[i].end > all.end)
			all.end = times[i].end;
	}
	printf("ns %ld\ncalls %ld\npatched %ld\n", all.end - all.start, t * rounds, patched);
	return 0;
}
