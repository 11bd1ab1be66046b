#include "../bpf.h"

SEC("uprobe/lib.so:f")
int helper(struct regs *ctx)
{
	return get_current_task() == ctx->di;
}
