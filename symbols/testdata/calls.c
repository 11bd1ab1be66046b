// What exits.c calls.
int outside(int x) { return x + 100; }
int elsewhere(int x) { return x + 200; }
void report(int x) { (void)x; }
void leave(void) { __builtin_trap(); }
