/* copies [N] [wait]: has a page of its own code mapped once more, between pages of data, and calls work N times (100) where
   it is and N times in the copy. A symbol of a function's type lies in its data. Prints "calls 2N", "sum S", and "changed C": how many
   bytes of the data, and of that symbol, were seen changed. */
#define _GNU_SOURCE
#include "fixture.h"
#include <stdint.h>
#include <sys/mman.h>

#define PAGE 4096
#define AROUND 64 /* pages of data on each side */

__attribute__((noipa, section(".text.copied"), aligned(PAGE))) long work(long i)
{
	return i * 3 + 1;
}

__attribute__((noipa, section(".text.copied"), aligned(PAGE))) long behind(long i) /* so that the page is work's */
{
	return i;
}

__asm__(".pushsection .data\n.globl datafn\n.type datafn, %function\ndatafn: .zero 32\n.size datafn, 32\n.popsection");
extern unsigned char datafn[32];

/* where finds the mapping that an address lies in, and its offset in the file. */
static long where(uintptr_t a, char *path)
{
	char line[1024];
	unsigned long from, to, offset;
	FILE *f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %1000s", &from, &to, &offset, path) == 4 && a >= from && a < to) {
			fclose(f);
			return offset + (a - from);
		}
	exit(3);
}

int main(int argc, char **argv)
{
	char path[1001];
	long n = arg(argc, argv, 1, 100), sum = 0, changed = 0;
	size_t size = (2 * AROUND + 1) * PAGE;
	unsigned char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *copy = area + AROUND * PAGE;
	long offset = where((uintptr_t)work, path);
	FILE *f = fopen(path, "r");
	if (area == MAP_FAILED || !f ||
	    mmap(copy, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fileno(f), offset) == MAP_FAILED)
		return 2;
	memset(area, 0x90, AROUND * PAGE);
	memset(copy + PAGE, 0x90, AROUND * PAGE);
	ready(&argc, argv);
	long (*volatile again)(long) = (long (*)(long))copy;
	for (long i = 0; i < n; i++)
		sum += work(i) + again(i) + behind(0);
	for (size_t i = 0; i < size; i++)
		changed += (area + i < copy || area + i >= copy + PAGE) && area[i] != 0x90;
	for (size_t i = 0; i < sizeof datafn; i++)
		changed += ((volatile unsigned char *)datafn)[i] != 0;
	printf("calls %ld\nsum %ld\nchanged %ld\n", 2 * n, sum, changed);
	return 0;
}
