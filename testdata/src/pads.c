/* pads N: calls three functions N times each through pointers, where each must
   start with a landing pad: leaf has bti c, frame and deep, which calls itself,
   have paciasp. No library, so that all of it can be guarded. It says "calls"
   (of each, of deep four times that), "sum" and whether the CPU guards ("bti"). */
#define PROBED __attribute__((noipa))

static long call(long nr, long a, long b, long c)
{
	register long x8 __asm__("x8") = nr, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}

static void say(const char *what, unsigned long n)
{
	char b[64], *p = b + sizeof b, *q = b;
	while (*what)
		*q++ = *what++;
	*--p = '\n';
	do
		*--p = '0' + n % 10;
	while (n /= 10);
	*q++ = ' ';
	while (p < b + sizeof b)
		*q++ = *p++;
	call(64, 1, (long)b, q - b); /* write */
}

PROBED long leaf(long i) { return i * 3 + 1; }

static long (*volatile leaf_at)(long) = leaf;

PROBED long frame(long i) { return leaf_at(i) + leaf_at(i + 1); }

PROBED long deep(long i, long n) { return n ? deep(i, n - 1) + frame(i) : i; }

static long (*volatile frame_at)(long) = frame;
static long (*volatile deep_at)(long, long) = deep;

__attribute__((used, noreturn)) void go(unsigned long *sp)
{
	unsigned long argc = sp[0], *v = sp + argc + 2, n = 0, sum = 0, bti = 0;
	char **argv = (char **)(sp + 1), c;
	for (const char *p = argc > 1 ? argv[1] : "1000"; *p; p++)
		n = n * 10 + *p - '0';
	while (*v)
		v++;
	for (v++; v[0]; v += 2)
		if (v[0] == 26) /* AT_HWCAP2 */
			bti = v[1] >> 17 & 1;
	say("pid", call(172, 0, 0, 0)); /* getpid */
	if (argc > 2)
		call(63, 0, (long)&c, 1); /* read */
	for (unsigned long i = 0; i < n; i++)
		sum += leaf_at(i) + frame_at(i) + deep_at(i, 3);
	say("calls", n);
	say("sum", sum);
	say("bti", bti);
	for (;;)
		call(94, 0, 0, 0); /* exit_group */
}

__asm__(".globl _start\n.type _start, %function\n_start:\n\tmov x0, sp\n\tb go\n.size _start, . - _start\n");
