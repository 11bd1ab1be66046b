/* waits [wait]: threads wait in system calls that fail with EINTR when a stop ends
   them, and are there before it waits itself. Then one gets a signal that it handles, one
   a signal that is ignored, and all what they wait for. Prints "eintr N", how many
   calls failed with EINTR though no handler ran, "wrong N", how many failed otherwise,
   and "handled N", how many did where one ran (1). */
#define _GNU_SOURCE
#include "fixture.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

static int event, sem, pair[2], listener;
static atomic_int there, failed, handled, wrong;

static void forever(int fd)
{
	struct timeval t = {1000, 0};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
}

static long on_epoll(void)
{
	struct epoll_event e = {.events = EPOLLIN};
	int p = epoll_create1(0);
	epoll_ctl(p, EPOLL_CTL_ADD, event, &e);
	there++;
	return epoll_wait(p, &e, 1, -1);
}

static long on_sem(void)
{
	struct sembuf down = {0, -1, 0};
	there++;
	return semop(sem, &down, 1);
}

static long on_signal(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	there++;
	return sigtimedwait(&set, NULL, &(struct timespec){1000, 0});
}

static long on_recv(void)
{
	char c;
	there++;
	return recv(pair[0], &c, 1, 0);
}

static long on_accept(void)
{
	there++;
	return accept(listener, NULL, NULL);
}

static long (*const calls[])(void) = {on_epoll, on_epoll, on_epoll, on_sem, on_signal, on_recv, on_accept};
enum { N = sizeof calls / sizeof *calls, HANDLES = 1, IGNORES = 2, SIGNALLED = 4 };

static void *run(void *p)
{
	long i = (long)p;
	if (calls[i]() < 0) {
		if (errno != EINTR)
			wrong++;
		else if (i == HANDLES)
			handled++;
		else
			failed++;
	}
	return p;
}

static void handler(int sig) { (void)sig; }

int main(int argc, char **argv)
{
	pthread_t ids[N];
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct sigaction act = {.sa_handler = handler};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGUSR1, &act, NULL);
	event = eventfd(0, 0);
	sem = semget(IPC_PRIVATE, 1, 0600);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	forever(pair[0]);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	bind(listener, (struct sockaddr *)&at, sizeof(sa_family_t)); /* a name of the kernel's choice */
	listen(listener, 1);
	forever(listener);
	for (long i = 0; i < N; i++)
		pthread_create(&ids[i], NULL, run, (void *)i);
	while (there < N)
		usleep(1000);
	ready(&argc, argv);
	pthread_kill(ids[IGNORES], SIGWINCH);
	pthread_kill(ids[HANDLES], SIGUSR1);
	pthread_join(ids[HANDLES], NULL);
	usleep(20000); /* the ignored one has come */
	eventfd_write(event, 1);
	semop(sem, &(struct sembuf){0, 1, 0}, 1);
	pthread_kill(ids[SIGNALLED], SIGUSR2);
	send(pair[1], "x", 1, 0);
	socklen_t size = sizeof at;
	getsockname(listener, (struct sockaddr *)&at, &size);
	connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&at, size);
	for (int i = 0; i < N; i++)
		if (i != HANDLES)
			pthread_join(ids[i], NULL);
	semctl(sem, 0, IPC_RMID);
	printf("eintr %d\nwrong %d\nhandled %d\n", failed, wrong, handled);
	return 0;
}
