// As small as a library gets.
int helper(int x);
static __attribute__((noinline)) int inner(int x) { return x * 3; }
int plain(int x) { return x < 0 ? helper(x) : inner(x) + 1; }
int plain_alias(int x) __attribute__((alias("plain")));
__attribute__((cold)) int helper(int x) { return x - 1; }
