// A second static function of the same name.
static __attribute__((noinline, noclone)) int helper(int x) { return x - 9; }

int other(int x) { return helper(x) + 1; }
