#include "../bpf.h"

extern int elsewhere(u64);

SEC("uprobe")
int calls(struct regs *ctx)
{
	return elsewhere(ctx->di);
}
