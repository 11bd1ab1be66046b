/* sparse FILE SIZE [N] [wait]: makes the file SIZE bytes long, maps it executable, and N
   (100) times calls work. Prints "mapped 1" (0: there was no room) and "sum S". */
#include "fixture.h"
#include <fcntl.h>
#include <sys/mman.h>

PROBED long work(long i)
{
	return i * 3;
}

int main(int argc, char **argv)
{
	long size = arg(argc, argv, 2, 0), sum = 0;
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	int mapped = fd >= 0 && !ftruncate(fd, size) &&
		     mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_NORESERVE, fd, 0) != MAP_FAILED;
	ready(&argc, argv);
	long n = arg(argc, argv, 3, 100);
	for (long i = 0; i < n; i++)
		sum += work(i);
	printf("mapped %d\nsum %ld\n", mapped, sum);
	return 0;
}
