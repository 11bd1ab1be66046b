// Functions that end in different ways. See TestExits.
#define NOINLINE __attribute__((noinline, noclone))

extern void leave(void) __attribute__((noreturn));
extern int outside(int);
extern int elsewhere(int);
extern void report(int) __attribute__((cold));

NOINLINE int one_return(int x) { return x + 1; }

NOINLINE int tail_jump(int x) { return outside(x + 2); }

NOINLINE int tail_branch(int x) {
	if (x > 3)
		return elsewhere(x);
	return x * x + 1;
}

NOINLINE int indirect(int (*f)(int), int x) { return f(x + 1); }

NOINLINE void never(void) {
	for (;;)
		;
}

NOINLINE void gone(int x) {
	if (x)
		leave();
	leave();
}

// The first cold part of a file is aligned as functions are.
NOINLINE int rare_first(int x) {
	if (__builtin_expect(x < 0, 0)) {
		report(x);
		return outside(x) + 4;
	}
	return x - 6;
}

// The call of a cold function goes to rare_path.cold.
NOINLINE int rare_path(int x) {
	if (__builtin_expect(x < 0, 0)) {
		report(x);
		return outside(x) + 3;
	}
	return x - 5;
}

// A jump table.
NOINLINE int table(int x, int y) {
	switch (x) {
	case 0: return y + 1;
	case 1: return y * 3;
	case 2: return outside(y);
	case 3: return y - elsewhere(y);
	case 4: return y / 7;
	case 5: return y ^ 0x1234;
	case 6: return outside(y) ^ 9;
	case 7: return y << 4;
	}
	return -1;
}
