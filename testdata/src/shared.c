/* shared [N] [wait]: calls N (500) times a function that it has written itself, in memory
   that is shared and mapped twice: writable, and executable at SHARED. Prints "calls N",
   and "bad B": how many results were wrong, or after how many calls the code was not what
   it had written. */
#define _GNU_SOURCE
#include "fixture.h"
#include <sys/mman.h>

#define SHARED ((unsigned char *)0x200000000000)

#ifdef __x86_64__
static const unsigned char code[] = {0x48, 0x8d, 0x47, 0x02, 0x48, 0x83, 0xc0, 0x01, 0xc3}; /* lea 2(%rdi), %rax; add $1, %rax; ret */
#else
static const unsigned code[] = {0x91000800, 0x91000400, 0xd65f03c0}; /* add x0, x0, #2; add x0, x0, #1; ret */
#endif

int main(int argc, char **argv)
{
	int fd = memfd_create("shared", 0);
	long bad = 0;
	if (fd < 0 || ftruncate(fd, 4096))
		return 1;
	unsigned char *w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char *x = mmap(SHARED, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (w == MAP_FAILED || x != SHARED)
		return 1;
	memcpy(w, code, sizeof code);
	__builtin___clear_cache((char *)x, (char *)x + sizeof code);
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 500);
	for (long i = 0; i < n; i++)
		bad += ((long (*)(long))x)(i) != i + 3 || memcmp(w, code, sizeof code);
	printf("calls %ld\nbad %ld\n", n, bad);
	return 0;
}
