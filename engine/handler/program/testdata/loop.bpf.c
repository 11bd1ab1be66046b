/* A function whose address is taken, and variables of its caller's. */
#include "bpf.h"

u64 sum;

static long add(u32 i, u64 *total)
{
	*total += i;
	return 0;
}

SEC("uprobe")
int triangle(struct regs *ctx)
{
	u64 total = 0;
	loop(ctx->di & 1023, add, &total, 0);
	__sync_fetch_and_add(&sum, total);
	return 0;
}
