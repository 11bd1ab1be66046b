// Runs the SIGTRAP guard for real: guard_run CODE HANDLER RESTORER HEADER CASE.
// Exit status 0: the case went as it should and the process lived.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define CHECK(c) do { if (!(c)) { fprintf(stderr, "line %d: %s\n", __LINE__, #c); _exit(99); } } while (0)

struct ksigaction { uint64_t handler, flags, restorer, mask; };
struct header { uint64_t first, old, mask, flags, swallow, pad[3], note, note_mask, note_signal; siginfo_t note_info; };
struct chunk { uint64_t next, count; struct { uint64_t addr, resume; } entry[4]; };

static struct header *header;
static struct chunk chunk[2];
static volatile int hits, code;
static volatile uint64_t seen_pc;

extern char site[], resume[], foreign[], icebp[];

// trap executes an int3 at site with known registers, and says where it went
// on: 1 behind it, 2 at resume; 3: with other registers.
uint64_t trap(void);
__asm__(
	"trap:\n"
	"	push %rbx; push %rbp; push %r12; push %r15\n"
	"	mov $0x11, %ebx; mov $0x22, %ebp; mov $0x33, %r12d; mov $0x44, %r15d\n"
	"	mov $0x55, %eax; mov $0x66, %ecx; mov $0x77, %r11d; mov $0x88, %r8d\n"
	"	movq $0x1234, -8(%rsp); movq $0x5678, -128(%rsp); stc\n"
	"site:	int3\n"
	"	mov $1, %eax\n"
	"	jmp 2f\n"
	"resume:\n"
	"	jnc 1f\n"
	"	cmp $0x11, %rbx; jne 1f; cmp $0x22, %rbp; jne 1f; cmp $0x33, %r12; jne 1f; cmp $0x44, %r15; jne 1f\n"
	"	cmp $0x55, %rax; jne 1f; cmp $0x66, %rcx; jne 1f; cmp $0x77, %r11; jne 1f; cmp $0x88, %r8; jne 1f\n"
	"	cmpq $0x1234, -8(%rsp); jne 1f; cmpq $0x5678, -128(%rsp); jne 1f\n"
	"	mov $2, %eax; jmp 2f\n"
	"1:	mov $3, %eax\n"
	"2:	pop %r15; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

// raise_foreign and raise_icebp trap where the index has nothing.
void raise_foreign(void), raise_icebp(void), raise_step(void);
__asm__(
	"raise_foreign: int3\nforeign: ret\n"
	"raise_icebp: .byte 0xf1\nicebp: ret\n"
	"raise_step: pushf; orq $0x100, (%rsp); popf; nop; nop; nop; ret\n");

static void own(int sig, siginfo_t *si, void *uc)
{
	CHECK(sig == SIGTRAP);
	hits++;
	code = si->si_code;
	seen_pc = ((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP];
	((ucontext_t *)uc)->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
	if (seen_pc == (uint64_t)icebp - 1) // some virtual CPUs stay on an int1
		seen_pc = ++((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP];
}

static void install(char **argv)
{
	static char buf[4096];
	int fd = open(argv[1], O_RDONLY);
	CHECK(fd >= 0 && read(fd, buf, sizeof buf) > 0);
	char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	memcpy(page, buf, sizeof buf);
	header = (void *)(page + atoi(argv[4]));
	memset(header, 0, sizeof *header);
	chunk[0].next = (uint64_t)&chunk[1];
	chunk[0].count = 2;
	chunk[0].entry[1].addr = (uint64_t)site + 1;
	chunk[0].entry[1].resume = 1;
	chunk[0].entry[2].addr = (uint64_t)site; // behind the count: not there
	chunk[0].entry[2].resume = 1;
	chunk[1].count = 3;
	chunk[1].entry[2].addr = (uint64_t)site;
	chunk[1].entry[2].resume = (uint64_t)resume;
	header->first = (uint64_t)&chunk[0];
	struct ksigaction sa = {
		.handler = (uint64_t)page + atoi(argv[2]),
		.restorer = (uint64_t)page + atoi(argv[3]),
		.flags = SA_SIGINFO | 0x04000000 | SA_RESTART,
	};
	CHECK(syscall(SYS_rt_sigaction, SIGTRAP, &sa, 0, 8) == 0);
}

static void protect(int prot) { CHECK(mprotect((void *)((uint64_t)header & ~4095UL), 4096, prot) == 0); }
static void seal(void) { protect(PROT_READ | PROT_EXEC); }

static void *in_thread(void *f) { ((void (*)(void))f)(); return 0; }

// dies_at runs f in a traced child and wants it to die of two SIGTRAPs, both
// seen at pc, with the same cause.
static void dies_at(void (*f)(void), uint64_t pc, int cause)
{
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		f();
		_exit(98);
	}
	int status;
	for (int i = 0; i < 2; i++) {
		siginfo_t si;
		CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
		CHECK(ptrace(PTRACE_GETSIGINFO, pid, 0, &si) == 0 && si.si_code == cause);
		CHECK(pc == 0 || (uint64_t)ptrace(PTRACE_PEEKUSER, pid, 16 * 8, 0) == pc);
		CHECK(ptrace(PTRACE_CONT, pid, 0, SIGTRAP) == 0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP);
}

static void send(void) { kill(getpid(), SIGTRAP); }
static void site_trap(void) { trap(); }

static volatile int value;

static void queued(int sig, siginfo_t *si, void *uc)
{
	CHECK(sig == SIGUSR2 && si->si_code == SI_QUEUE);
	value = si->si_value.sival_int;
}

// gives_back is a thread that a tracer has died from, with its signals blocked and
// one in hands, when f traps.
static void gives_back(void (*f)(void))
{
	sigset_t all, own, now;
	struct sigaction sa = {.sa_sigaction = queued, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR2, &sa, 0);
	sigemptyset(&own);
	sigaddset(&own, SIGUSR1);
	sigfillset(&all);
	sigdelset(&all, SIGTRAP);
	sigprocmask(SIG_SETMASK, &all, 0);
	header->swallow = 1;
	header->note = getpid();
	memcpy(&header->note_mask, &own, 8);
	header->note_signal = SIGUSR2;
	header->note_info = (siginfo_t){.si_signo = SIGUSR2, .si_code = SI_QUEUE};
	header->note_info.si_value.sival_int = 77;
	seal();
	f();
	sigprocmask(SIG_SETMASK, 0, &now);
	CHECK(value == 77 && sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2) && !sigismember(&now, SIGTERM));
}

static const char *want;
static int is(const char *name) { return strcmp(want, name) == 0; }

// cases where the process lives on.
static void lives(void)
{
	if (is("resume")) {
		seal();
		for (int i = 0; i < 1000; i++)
			CHECK(trap() == 2);
	} else if (is("chain")) {
		header->old = (uint64_t)own;
		seal();
		raise_foreign();
		CHECK(hits == 1 && code == SI_KERNEL && seen_pc == (uint64_t)foreign);
		CHECK(trap() == 2 && hits == 1);
		send();
		CHECK(hits == 2 && code == SI_USER);
		raise_icebp();
		CHECK(hits == 3 && code == TRAP_BRKPT);
		raise_step();
		CHECK(hits == 4 && code == TRAP_TRACE);
	} else if (is("chain-swallow")) {
		header->old = (uint64_t)own;
		header->swallow = 1;
		seal();
		raise_step();
		CHECK(hits == 0);
		raise_icebp();
		CHECK(hits == 1 && code == TRAP_BRKPT && seen_pc == (uint64_t)icebp);
	} else if (is("chain-freed")) {
		header->old = (uint64_t)own;
		chunk[1].entry[2].resume = 0;
		seal();
		CHECK(trap() == 1 && hits == 1);
		chunk[1].entry[2].addr = 0;
		CHECK(trap() == 1 && hits == 2);
		protect(PROT_READ | PROT_WRITE);
		header->first = 0;
		seal();
		CHECK(trap() == 1 && hits == 3);
	} else if (is("swallow")) {
		header->swallow = 1;
		seal();
		raise_step();
	} else if (is("given-back")) {
		gives_back(raise_step);
	} else if (is("given-back-sent")) {
		gives_back(send);
	} else if (is("another's")) {
		header->swallow = 1;
		header->note = 1;
		seal();
		raise_step();
	} else if (is("ignored-sent")) {
		send();
	} else if (is("default-pc")) {
		dies_at(raise_foreign, (uint64_t)foreign, SI_KERNEL);
		dies_at(raise_icebp, 0, TRAP_BRKPT);
		dies_at(send, 0, SI_USER);
	}
}

// cases where it dies.
static void dies(void)
{
	if (strncmp(want, "ignored", 7) == 0)
		header->old = 1;
	if (strncmp(want, "default", 7) == 0 || strncmp(want, "ignored", 7) == 0 || is("blocked-int3"))
		seal();
	if (is("default-int3")) {
		raise_foreign();
	} else if (is("default-freed")) {
		chunk[1].entry[2].resume = 0;
		trap();
	} else if (is("default-sent")) {
		send();
	} else if (is("default-step")) {
		raise_step();
	} else if (is("default-thread")) {
		pthread_t t;
		pthread_create(&t, 0, in_thread, raise_foreign);
		pthread_join(t, 0);
	} else if (is("ignored-int3")) {
		raise_foreign();
	} else if (is("ignored-step")) {
		raise_step();
	} else if (is("blocked-int3")) {
		sigset_t set;
		sigemptyset(&set);
		sigaddset(&set, SIGTRAP);
		sigprocmask(SIG_BLOCK, &set, 0);
		site_trap();
	} else {
		return;
	}
	_exit(97);
}

int main(int argc, char **argv)
{
	CHECK(argc == 6);
	want = argv[5];
	install(argv);
	dies();
	lives();
	return 0;
}
