/* ids [N] [wait]: N (100) threads one after the other, each of which calls a function with its id; every tenth
   forks, and vforks, and the children call it, too. Prints "calls C". */
#include "fixture.h"
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

PROBED long note(long tid, long pid)
{
	return tid + pid;
}

static void *run(void *p)
{
	note(syscall(SYS_gettid), getpid());
	return p;
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	long n = arg(argc, argv, 1, 100), calls = 0;
	for (long i = 0; i < n; i++) {
		pthread_t id;
		if (pthread_create(&id, NULL, run, NULL) || pthread_join(id, NULL)) {
			perror("pthread");
			return 1;
		}
		calls++;
		if (i % 10 == 9) {
			pid_t child = fork();
			if (child == 0) {
				run(NULL);
				_exit(0);
			}
			waitpid(child, NULL, 0);
			calls++;
			if ((child = vfork()) == 0) {
				note(syscall(SYS_gettid), syscall(SYS_getpid));
				_exit(0);
			}
			waitpid(child, NULL, 0);
			calls++;
		}
		run(NULL);
		calls++;
	}
	printf("calls %ld\n", calls);
	return 0;
}
